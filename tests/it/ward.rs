//! A sidecar in the process of the test, over a disk that can be told to fail or to hold still.

use std::sync::Arc;

use stateward::disk::{FaultDisk, MemoryDisk};
use stateward::server::{App, Options as ServerOptions, Places, Server};
use stateward::{CheckpointManager, Options};
use tokio::sync::oneshot;

use crate::cli_home::Home;
use crate::server_home::Place;

/// The checkpoints of the agent that it is asked about.
pub const CHECKPOINTS: &str = "/v1/agents/a/checkpoints";

/// A sidecar in this process, over a disk that can be told to fail.
pub struct Ward {
    pub app: App,
    pub place: Place,
    pub disk: Arc<FaultDisk>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ward {
    pub fn open(home: &Home) -> Self {
        let disk = FaultDisk::over(&MemoryDisk::new());
        let options = Options { disk: Arc::clone(&disk) as _, ..Options::new("/store") };
        let app = App::new(CheckpointManager::open(options).unwrap(), ServerOptions::default());
        let socket = home.path("s.sock");
        std::fs::set_permissions(
            home.path(""),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        let (end, ended) = oneshot::channel();
        let (tell, listens) = std::sync::mpsc::channel();
        let (serving, places) =
            (app.clone(), Places { socket: Some(socket.clone()), listen: None });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let server = Server::open(serving, &places).await.unwrap();
                tell.send(()).unwrap();
                server.serve(async { _ = ended.await.ok() }).await;
            });
        });
        // Its name is there a moment before anybody listens.
        listens.recv().unwrap();
        Self { app, place: Place::Socket(socket), disk, end: Some(end), thread: Some(thread) }
    }

    pub fn state(&self) -> String {
        let path = format!("{CHECKPOINTS}/latest/state");
        self.place.ask("GET", &path, &[], b"").text().to_owned()
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        self.end.take().map(|end| end.send(()).ok());
        self.thread.take().map(|thread| thread.join().ok());
    }
}
