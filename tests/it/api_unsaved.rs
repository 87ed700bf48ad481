//! What no store could take is kept in memory, reported, and stored as soon as one can.

use std::sync::Arc;

use rustix::io::Errno;
use stateward::disk::{Fault, FaultDisk, MemoryDisk, Op};
use stateward::server::{App, Options as ServerOptions, Places, Server};
use stateward::{CheckpointManager, Options};
use tokio::sync::oneshot;

use crate::cli_home::Home;
use crate::run_home::until;
use crate::server_home::Place;

const CHECKPOINTS: &str = "/v1/agents/a/checkpoints";

/// A sidecar in this process, over a disk that can be told to fail.
struct Ward {
    app: App,
    place: Place,
    disk: Arc<FaultDisk>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ward {
    fn open(home: &Home) -> Self {
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
        let (serving, places) =
            (app.clone(), Places { socket: Some(socket.clone()), listen: None });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let server = Server::open(serving, &places).await.unwrap();
                server.serve(async { _ = ended.await.ok() }).await;
            });
        });
        until("the socket is there", || socket.exists());
        Self { app, place: Place::Socket(socket), disk, end: Some(end), thread: Some(thread) }
    }

    fn state(&self) -> String {
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

#[test]
fn a_full_disk_costs_an_agent_nothing_that_it_handed_over() {
    let home = Home::new();
    let ward = Ward::open(&home);
    assert_eq!(ward.place.post(CHECKPOINTS, r#"{"state":{"n":1}}"#).status, 201);
    ward.disk.inject(Fault::new(Errno::NOSPC).on(Op::Write));
    for n in [2, 3] {
        let answer = ward.place.post(CHECKPOINTS, &format!(r#"{{"state":{{"n":{n}}}}}"#));
        let detail = answer.problem(507, "unstored");
        assert!(detail.contains("kept in memory"), "{detail}");
    }
    let unsaved = ward.app.unsaved();
    assert_eq!(unsaved.len(), 1, "{unsaved:?}");
    assert_eq!((unsaved[0].agent_id.as_str(), unsaved[0].bytes), ("a", 7));
    assert_eq!(ward.state(), r#"{"n":1}"#, "what is not durable is not shown as if it were");
    ward.disk.heal();
    until("it is stored", || ward.app.unsaved().is_empty());
    assert_eq!(ward.state(), r#"{"n":3}"#);
}

#[test]
fn what_an_agent_saves_meanwhile_takes_its_place() {
    let home = Home::new();
    let ward = Ward::open(&home);
    ward.disk.inject(Fault::new(Errno::NOSPC).on(Op::Write));
    ward.place.post(CHECKPOINTS, r#"{"state":{"n":1}}"#).problem(507, "unstored");
    ward.disk.heal();
    assert_eq!(ward.place.post(CHECKPOINTS, r#"{"state":{"n":2}}"#).status, 201);
    until("nothing is left", || ward.app.unsaved().is_empty());
    assert_eq!(ward.state(), r#"{"n":2}"#, "the older one does not come back");
}
