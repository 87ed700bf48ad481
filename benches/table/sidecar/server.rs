//! A server that is started for the measuring, and ended with it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a server that others provide is left out.
pub const NOT_INSTALLED: &str = "it is not installed here";

/// A running server.
pub struct Server(Child);

impl Server {
    /// Starts it, and waits until `answers` says that it does.
    pub fn start(command: &mut Command, mut answers: impl FnMut() -> bool) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self(command.spawn().expect("the server starts"));
        let began = Instant::now();
        while !answers() {
            let ended = server.0.try_wait().expect("a child can be looked at");
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            assert!(began.elapsed() < PATIENCE, "{command:?} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// A figure of `/proc/PID/status` in bytes.
    pub fn status_bytes(&self, name: &str) -> f64 {
        let path = format!("/proc/{}/status", self.0.id());
        crate::child::status_bytes_in(Path::new(&path), name) as f64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("an own child can be signalled");
        self.0.wait().expect("a child can be waited for");
    }
}

/// Whether a command can be run here.
pub fn runs(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
