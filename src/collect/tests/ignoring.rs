//! ignoring
