//! Bodies of requests: whole, in time, neither too large nor too deep.
//!
//! [`Whole`] are the bytes, [`Given`] a value read from them; both count towards what all bodies
//! together may take, as long as they are held.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::app::App;
use super::problem::Problem;
use crate::error::ErrorKind;

/// Larger bodies take a while to read: other connections are served meanwhile.
const SMALL: usize = 64 << 10;

/// The bytes that all bodies take together.
#[derive(Debug, Default, Clone)]
pub(super) struct Budget(Arc<AtomicU64>);

/// A part of the budget, given back when this is dropped.
#[derive(Debug)]
struct Share {
    budget: Budget,
    bytes: u64,
    most: u64,
}

impl Share {
    fn of(app: &App) -> Self {
        let budget = app.bodies().clone();
        Self { budget, bytes: 0, most: app.options().bodies_bytes_max.0 }
    }

    /// Takes this much more, where there is as much.
    fn grow(&mut self, by: u64) -> Result<(), Problem> {
        let before = self.budget.0.fetch_add(by, Ordering::Relaxed);
        self.bytes += by;
        if before + by > self.most {
            return Err(Problem::busy("the bodies of all requests take too much memory"));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The whole body of a request.
#[derive(Debug)]
pub(crate) struct Whole {
    bytes: Vec<u8>,
    _share: Share,
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromRequest<App> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let patience = app.options().body_timeout.as_duration();
        match timeout(patience, gather(request, app)).await {
            Ok(whole) => whole,
            Err(_) => Err(Problem::with_status(
                StatusCode::REQUEST_TIMEOUT,
                ErrorKind::Usage,
                "the body of the request did not come in time",
            )),
        }
    }
}

async fn gather(request: Request, app: &App) -> Result<Whole, Problem> {
    let most = app.options().body_bytes_max.0;
    let mut whole = Whole { bytes: Vec::new(), _share: Share::of(app) };
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(ErrorKind::Usage, format!("the body of the request broke off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if (whole.bytes.len() + data.len()) as u64 > most {
            return Err(Problem::too_large(most));
        }
        whole._share.grow(data.len() as u64)?;
        whole.bytes.extend_from_slice(&data);
    }
    Ok(whole)
}

/// A value read from a JSON body. An empty body stands for `{}`.
#[derive(Debug)]
pub(crate) struct Given<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let whole = Whole::from_request(request, app).await?;
        let depth = app.options().body_depth_max;
        if whole.len() <= SMALL {
            return read(&whole, depth).map(Self);
        }
        app.work(move || read(&whole, depth)).await.map(Self)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8], depth_max: usize) -> Result<T, Problem> {
    if is_deeper(bytes, depth_max) {
        let detail = format!("the body of the request is nested deeper than {depth_max}");
        return Err(Problem::new(ErrorKind::Usage, detail));
    }
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(ErrorKind::Usage, format!("the body of the request does not fit: {error}"))
            .hint("/openapi.json tells what is expected")
    })
}

/// Whether arrays and objects are nested deeper than this, as far as the bytes are JSON. Readers that
/// skip over a value do not count.
fn is_deeper(bytes: &[u8], most: usize) -> bool {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

impl Problem {
    fn too_large(most: u64) -> Self {
        Self::with_status(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Usage,
            format!("the body of the request is larger than {most} bytes"),
        )
        .hint("keep less in the state, or raise server.body_bytes_max")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_arrays_and_objects_and_not_of_texts() {
        assert!(!is_deeper(br#"{"a":"[[[[\"[[[","b":[1]}"#, 2));
        assert!(is_deeper(br#"{"a":[[1]]}"#, 2));
        assert!(!is_deeper(b"[][][]{}{}", 1));
        let bomb = b"[".repeat(10_000_000);
        assert!(read::<Vec<u8>>(&bomb, 100).unwrap_err().detail.contains("deeper than 100"));
    }

    #[test]
    fn no_body_is_an_empty_object_and_what_does_not_fit_is_told() {
        let empty: std::collections::BTreeMap<String, u8> = read(b"", 8).unwrap();
        assert!(empty.is_empty());
        let problem = read::<Vec<u8>>(b"{}", 8).unwrap_err();
        assert_eq!(problem.status, 400);
    }

    #[test]
    fn what_a_body_took_is_given_back() {
        let budget = Budget::default();
        let mut share = Share { budget: budget.clone(), bytes: 0, most: 10 };
        share.grow(8).unwrap();
        assert_eq!(share.grow(8).unwrap_err().status, 503);
        drop(share);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
