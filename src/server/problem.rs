//! Errors as they are answered: `application/problem+json` (RFC 9457).
//!
//! The one place where an HTTP status follows from the kind of an error.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;
use crate::manager;
use crate::state::Attempt;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A name for this sort of problem.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The status in words.
    pub title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What was being done, on which thing, why it failed.
    pub detail: String,
    /// The kind of error, by which callers branch.
    pub kind: ErrorKind,
    /// What to do now, where there is something to name.
    pub hint: Option<String>,
    /// Every try to commit, where the error is of a commit.
    pub attempts: Vec<Attempt>,
    /// Seconds after which the same may succeed.
    #[serde(skip)]
    #[schema(ignore)]
    retry_after_secs: Option<u32>,
}

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// The status that stands for a kind of error.
pub(crate) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Failed | ErrorKind::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Usage => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Locked => StatusCode::LOCKED,
        ErrorKind::Unstored => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Refused => StatusCode::CONFLICT,
        ErrorKind::Stale => StatusCode::PRECONDITION_FAILED,
    }
}

impl Problem {
    /// A problem with the status of its kind.
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self::with_status(status_of(kind), kind, detail)
    }

    /// A problem with a status that tells more than its kind.
    pub(crate) fn with_status(
        status: StatusCode,
        kind: ErrorKind,
        detail: impl Into<String>,
    ) -> Self {
        let name = serde_json::to_value(kind).unwrap_or_default();
        Self {
            problem_type: format!("urn:stateward:problem:{}", name.as_str().unwrap_or("failed")),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            kind,
            hint: None,
            attempts: Vec::new(),
            retry_after_secs: None,
        }
    }

    /// Says what to do now.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says after how many seconds the same may succeed.
    pub(crate) fn retry_after(mut self, secs: u32) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    /// The sidecar has more to do than it may.
    pub(crate) fn busy(detail: &str) -> Self {
        Self::new(ErrorKind::Unavailable, detail).hint("try again in a moment").retry_after(1)
    }

    /// The query of a request does not fit.
    pub(crate) fn query(error: &axum::extract::rejection::QueryRejection) -> Self {
        Self::new(ErrorKind::Usage, format!("the query does not fit: {}", error.body_text()))
    }

    /// Something of ours died half-way.
    pub(crate) fn died(what: &str) -> Self {
        Self::new(ErrorKind::Failed, format!("the request was interrupted: {what}"))
    }
}

impl From<manager::Error> for Problem {
    fn from(error: manager::Error) -> Self {
        let status = match &error {
            manager::Error::KeyReused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            other => status_of(other.kind()),
        };
        let mut problem = Self::with_status(status, error.kind(), error.to_string());
        problem.hint = error.hint();
        problem.attempts = error.attempts().to_vec();
        let passes = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unstored);
        problem.retry_after_secs = passes.then_some(1);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after_secs;
        let body =
            serde_json::to_vec(&self).expect("a problem has only fields that JSON can carry");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(secs) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        for (kind, status) in [
            (ErrorKind::Failed, 500),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Usage, 400),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Damaged, 500),
            (ErrorKind::Locked, 423),
            (ErrorKind::Unstored, 507),
            (ErrorKind::Refused, 409),
            (ErrorKind::Stale, 412),
        ] {
            assert_eq!(Problem::new(kind, "x").status, status, "{kind:?}");
        }
        let reused = manager::Error::KeyReused { key: "k".into() };
        assert_eq!(Problem::from(reused).status, 422);
    }
}
