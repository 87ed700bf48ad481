//! What the fuzz targets under `fuzz/` call: one function for each, and seeds to begin with.
//!
//! Each takes whatever bytes it is given and panics where a promise is broken. Checksums stand in
//! front of most decoders, so the functions put the right ones on: what is tried is what lies behind
//! them. This module is compiled for tests alone and is no part of the library's interface.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::commit::frame::{
    self, BatchHead, Layout as Batch, Outgoing, Place, RecordType, SegmentHeader, read_batch,
};
use crate::commit::{segment, summary};
use crate::config::{Configuration, Sources};
use crate::disk::MemoryDisk;
use crate::encode::event::{Event, Sealed};
use crate::encode::manifest::Manifest;
use crate::encode::{self, Options as States, Tracked, encode_complete};
use crate::manager::{CheckpointManager, Error, Filter, Options};
use crate::state::{AgentId, ByteSize, Digest, Kind, Span, Timestamp};
use crate::store::{Layout, View, ViewName, ViewPath, close_proof};

const DEPTH_MAX: usize = 96;
const SALT: [u8; 32] = [7; 32];

type Image = BTreeMap<PathBuf, Vec<u8>>;

/// A target: its name, what it does, and bytes to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// Every target.
pub const TARGETS: [Target; 15] = [
    ("recovery", recovery, || vec![vec![0, 100, 1, 0, 8, 2, 255, 3], vec![9; 40]]),
    ("log", log, log_seeds),
    ("frame", frame, || vec![vec![3; 120], vec![0; 600]]),
    ("summary", summary, || {
        vec![[&[0; 12][..], &[1, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 7, 7]].concat()]
    }),
    ("manifest", manifest, || vec![manifest_of_base()]),
    ("event", event, || vec![EVENT.to_vec()]),
    ("view", view, || vec![view_of_base()]),
    ("node", node, || vec![[&[1, 1, 1][..], &[5; 32], &[9]].concat()]),
    ("pack", pack, || {
        vec![encode::pack(&[b"\x01one", b"\x02two"], 1), encode::pack(&[&[1; 900]], 1)]
    }),
    ("json", json, || vec![br#"{"a":[1,-2.5e3,"\u00e9",null,true]}"#.to_vec()]),
    ("patch", patch, || vec![PATCHES.to_vec()]),
    ("diff", diff, || vec![b"{\"a\":[{\"id\":1}]}\0{\"a\":[{\"id\":2},{\"id\":1}]}".to_vec()]),
    ("reference", reference, || vec![b"latest:pre-operation".to_vec(), VIEW_PATH.to_vec()]),
    ("config", config, || vec![b"[log]\nsegment_bytes_min = 65536\n".to_vec()]),
    ("bundle", bundle, || vec![bundle_of_base()]),
];

const EVENT: &[u8] =
    br#"{"n":1,"at":"2026-01-01T00:00:00Z","what":{"reset":{"agent_id":"a","seq":3}}}"#;
const PATCHES: &[u8] =
    b"{\"a\":[1,2]}\0[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":3}]\0{\"b\":{\"c\":null}}";
const VIEW_PATH: &[u8] =
    b"/s/checkpoints/a/0000000001-routine-0190a1b2-0000-7000-8000-000000000001.json";

fn options(disk: &MemoryDisk) -> Options {
    let mut options = Options { disk: disk.shared(), background: false, ..Options::new("/store") };
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 8 << 10;
    options.store.lock_wait_ms = 0;
    options
}

/// A store with inline states, states in blocks, a pack, sealed segments and views; and the digests
/// of its states.
fn base() -> &'static (Image, Vec<Digest>) {
    static BASE: OnceLock<(Image, Vec<Digest>)> = OnceLock::new();
    BASE.get_or_init(|| {
        let disk = MemoryDisk::plain();
        let manager = CheckpointManager::open(options(&disk)).expect("a new store opens");
        let agent = manager.agent("a").expect("an agent id");
        let mut digests = Vec::new();
        for n in 0..12_u32 {
            let pad: Vec<u32> =
                (0..if n % 3 == 0 { 3000 } else { 20 }).map(|at| at * 7 + n / 6).collect();
            let state = serde_json::json!({"n": n, "pad": pad});
            let receipt = agent.create_checkpoint(Kind::Routine, &state).expect("it commits");
            digests.extend(receipt.checkpoint.state_digest);
            if n == 6 {
                manager.prune(&mut |_| {}).expect("it prunes");
            }
        }
        manager.settle().expect("it settles");
        drop((agent, manager));
        (disk.image(), digests)
    })
}

/// What a view of the base store says, without its check.
fn view_of_base() -> Vec<u8> {
    let (image, _) = base();
    let view = image.iter().find(|(path, _)| path.starts_with("/store/checkpoints"));
    let (_, bytes) = view.expect("a settled store has views");
    let body = bytes.len() - b",\n\"check\": \"blake3:\"}\n".len() - 64;
    bytes[..body].to_vec()
}

fn manifest_of_base() -> Vec<u8> {
    let mut whole = view_of_base();
    close_proof(&mut whole);
    View::decode(&whole).map(|view| view.manifest.encode()).unwrap_or_default()
}

/// The header and the state of a bundle, a zero between them.
fn bundle_of_base() -> Vec<u8> {
    let (image, _) = base();
    let manager = CheckpointManager::open(options(&MemoryDisk::from_image(image)));
    let bundle = manager.and_then(|manager| manager.agent("a")?.export("latest"));
    let bundle = bundle.expect("a sound store gives its bundles");
    let header = 16 + usize::from(bundle[12]) + 256 * usize::from(bundle[13]);
    [&bundle[16..header], &[0], &bundle[header..bundle.len() - 32]].concat()
}

/// Records as [`log`] takes them: a manifest, an event, blocks, a pack, and a mark.
fn log_seeds() -> Vec<Vec<u8>> {
    let record = |kind: u8, payload: &[u8]| {
        let mut payload = payload.to_vec();
        payload.resize(payload.len().next_multiple_of(4), b' ');
        [&[kind, u8::try_from(payload.len() / 4).unwrap_or(u8::MAX)], &payload[..]].concat()
    };
    let pack = encode::pack(&[b"\x03{}", b"\x02none"], 1);
    let parts =
        [record(2, &manifest_of_base()), record(3, EVENT), record(1, &[1; 40]), record(4, &pack)];
    vec![parts.concat(), [&parts[0][..], &[0, 0, 0xfe], &parts[1]].concat()]
}

/// Opens what is on the disk and reads all of it; every state that is served has a known digest.
fn read_all(disk: &MemoryDisk, known: Option<&[Digest]>) {
    let looked = CheckpointManager::open_to_look(options(disk)).map(drop);
    let Ok(manager) = CheckpointManager::open(options(disk)) else {
        assert!(looked.is_err(), "it can be looked at and not opened");
        return;
    };
    for agent in manager.agents() {
        let agent = manager.agent(agent.agent_id.as_str()).expect("it is one already");
        for one in agent.list_checkpoints(Filter::default()).expect("the list is in memory") {
            let Ok(loaded) = agent.read_checkpoint(one.checkpoint_id.to_string()) else { continue };
            let digest = loaded.state_bytes().map(Digest::of);
            assert_eq!(digest, one.state_digest, "served bytes do not hash");
            assert!(known.is_none_or(|known| known.iter().any(|one| Some(*one) == digest)));
        }
    }
    let state = serde_json::json!({"after": 1});
    let agent = manager.agent("a").expect("an agent id");
    let receipt = agent.create_checkpoint(Kind::Routine, &state).expect("it takes commits");
    let id = receipt.checkpoint.checkpoint_id.to_string();
    drop((agent, manager));
    let manager = CheckpointManager::open(options(disk)).expect("it opens again");
    let agent = manager.agent("a").expect("an agent id");
    agent.read_checkpoint(&id).expect("what was acknowledged is there");
}

/// A store that was made soundly and damaged as the input says: opening and reading it never panics
/// and serves nothing that was not kept.
pub fn recovery(bytes: &[u8]) {
    let (image, known) = base();
    let mut image = image.clone();
    let names: Vec<PathBuf> = image.keys().cloned().collect();
    for edit in bytes.as_chunks::<6>().0.iter().take(16) {
        let [file, at_low, at_high, what, value, len] = *edit;
        let name = &names[usize::from(file) % names.len()];
        let Some(found) = image.get_mut(name).filter(|found| !found.is_empty()) else { continue };
        let at = usize::from(u16::from_le_bytes([at_low, at_high])) % found.len();
        let end = found.len().min(at + usize::from(len) * 4 + 1);
        match what % 6 {
            0 => found[at] ^= value | 1,
            1 => found[at..end].fill(value),
            2 => found.truncate(at),
            3 => found.copy_within(at..end, at / 2),
            4 => {
                let other = names[usize::from(value) % names.len()].clone();
                let copy = image.get(&other).cloned();
                image.extend(copy.map(|copy| (name.clone(), copy)));
            }
            _ => {
                image.remove(name);
            }
        }
    }
    read_all(&MemoryDisk::from_image(&image), Some(known));
}

/// Segments with sound batches that hold whatever the input says: opening and reading them never
/// panics, and every state that is served has its digest.
pub fn log(bytes: &[u8]) {
    let (image, _) = base();
    let identity = Path::new("/store/store.json");
    let disk = MemoryDisk::new();
    disk.put(identity, &image[identity]);
    let any_segment = image.keys().find(|path| path.extension().is_some_and(|end| end == "log"));
    let any_header = any_segment.and_then(|path| image[path].get(..512)).unwrap_or_default();
    let store_id = SegmentHeader::decode(any_header).expect("a sound store").store_id;
    for (number, content) in (1..).zip(bytes.split(|byte| *byte == 0xfe).take(4)) {
        let path = Path::new("/store/log").join(segment::file_name(number));
        disk.put(&path, &segment_of(number, store_id, content));
    }
    read_all(&disk, None);
}

/// A segment whose batches hold the records that `content` spells: type, length, payload.
fn segment_of(number: u64, store_id: [u8; 16], mut content: &[u8]) -> Vec<u8> {
    let created_at = Timestamp::from_unix_ms(0);
    let length = 16 << 10;
    let header = SegmentHeader { store_id, number, length, salt: SALT, batch_align: 8, created_at };
    let mut file = header.encode().to_vec();
    let mut before = [0; 16];
    while let Some(([kind, len], rest)) = content.split_first_chunk::<2>() {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len) * 4));
        content = rest;
        let place = Place { segment: number, offset: file.len() as u64 };
        let mut batch = Batch::default();
        let record = RecordType::from_code(kind % 6).map(|kind| Outgoing::new(kind, payload));
        let head = match &record {
            Some(_) => BatchHead::data(place, place, before),
            None => BatchHead::lone_mark(place, before),
        };
        batch.fill(head, record.as_slice(), &SALT, 8);
        if file.len() + batch.bytes.len() + 1024 > 16 << 10 {
            break;
        }
        before = batch.checksum;
        file.extend_from_slice(&batch.bytes);
    }
    file.resize((16 << 10) - 512, 0);
    file.extend_from_slice(&header.encode());
    file
}

/// A batch header with any content but its own checksum, and a body that may be anything; and a
/// segment header likewise.
pub fn frame(bytes: &[u8]) {
    let place = Place { segment: 1, offset: 512 };
    if let Some((head, _)) = bytes.split_first_chunk::<64>() {
        let mut batch = bytes.to_vec();
        batch[..6].copy_from_slice(&[b'S', b'T', b'W', b'B', 1, 0]);
        batch[16..24].copy_from_slice(&place.segment.to_le_bytes());
        batch[24..32].copy_from_slice(&place.offset.to_le_bytes());
        let check = frame::checksum(&SALT, &[&batch[..head.len()]]);
        batch.splice(64..batch.len().min(80), check);
        if let Some(head) = BatchHead::decode(&batch, &SALT, place) {
            let read = read_batch(head, &batch, &SALT);
            assert!(read.records.len() <= batch.len() / 24, "more records than fit");
            assert!(head.extent(8) >= 96);
        }
    }
    let mut header = bytes.to_vec();
    header.resize(480, 0);
    header[..8].copy_from_slice(b"STWDLOG1");
    header.extend_from_slice(&Digest::of(&header).0);
    if let Ok(header) = SegmentHeader::decode(&header) {
        assert!(header.batches_end() >= 512 && header.first_batch() >= 512);
    }
}

/// Entries of a summary under a sound checksum.
pub fn summary(bytes: &[u8]) {
    let sealed = Sealed { segment: 1, end: 512, checksum: [0; 16] };
    let mut whole = summary::Builder::default().finish(&sealed, &SALT);
    whole.truncate(whole.len() - 16);
    whole.extend_from_slice(bytes);
    whole.extend_from_slice(&frame::checksum(&SALT, &[&whole]));
    let sound = summary::read(&whole, &sealed, &SALT, &mut |item| {
        drop(Manifest::decode(item.summary));
        drop(Event::decode(item.summary));
    });
    assert!(sound, "its checksum is right");
    for kind in [RecordType::Block, RecordType::Checkpoint, RecordType::Event] {
        assert!(summary::summary_of(kind, bytes).len() <= bytes.len());
    }
}

/// A manifest that is read is the same when it is written and read again.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(Manifest::decode(&manifest.encode()).expect("it was just written"), manifest);
    }
}

/// An event that is read is the same when it is written and read again.
pub fn event(bytes: &[u8]) {
    if let Some(event) = Event::decode(bytes) {
        assert_eq!(Event::decode(&event.encode()), Some(event));
    }
}

/// A view under a sound check.
pub fn view(bytes: &[u8]) {
    let mut whole = bytes.to_vec();
    close_proof(&mut whole);
    if let Ok(view) = View::decode(&whole)
        && let (Some(state), Some(part)) = (&view.state, &view.manifest.state)
    {
        assert_eq!(state.len() as u64, part.len);
    }
}

/// The children of a node stand for something each.
pub fn node(bytes: &[u8]) {
    let level = bytes.get(1).copied().unwrap_or(1);
    if let Ok(children) = encode::children(level, bytes) {
        assert!(children.iter().all(|child| child.len > 0));
    }
}

/// A pack holds no more than is allowed.
pub fn pack(bytes: &[u8]) {
    if let Ok(items) = encode::unpack(bytes, 1 << 16) {
        assert!(items.iter().map(Vec::len).sum::<usize>() <= 1 << 16);
    }
    if let Some(inner) = summary::unpack(bytes) {
        assert_eq!(summary::unpack(&summary::pack_records(&inner, 1)), Some(inner));
    }
}

/// What counts as JSON is what `serde_json` takes.
pub fn json(bytes: &[u8]) {
    let theirs = std::str::from_utf8(bytes)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    match encode::validate_value(bytes, DEPTH_MAX) {
        Ok(()) => assert!(theirs, "taken, and no JSON"),
        Err(error) => {
            let deep = matches!(error.problem, encode::JsonProblem::TooDeep(_));
            assert!(deep || !theirs, "refused, and JSON: {error}");
        }
    }
}

/// A patch leaves an object, encoded as it would be from the start, or nothing changed.
pub fn patch(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let state = Arc::new(parts.next().unwrap_or_default().to_vec());
    let options = States { inline_bytes_max: 64, state_bytes_max: 1 << 16, ..States::default() };
    if encode::validate_object(&state, DEPTH_MAX).is_err() {
        return;
    }
    let mut tracked = Tracked::new(options);
    tracked.replace(state);
    for patch in parts {
        let before = tracked.bytes().clone();
        match tracked.patch(patch) {
            Ok(encoded) => {
                let after = tracked.bytes();
                assert!(encode::validate_object(after, DEPTH_MAX).is_ok(), "no object any more");
                let whole = encode_complete(after.clone(), &options);
                assert_eq!(encoded.content, whole.content);
                assert_eq!(encoded.state_digest, whole.state_digest);
            }
            Err(_) => assert_eq!(*tracked.bytes(), before, "half a patch"),
        }
    }
}

/// Two states differ where they do, and equal ones nowhere.
pub fn diff(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (a, b) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let sound = |part| encode::validate_object(part, DEPTH_MAX).is_ok();
    if sound(a) && sound(b) {
        assert!(encode::diff(a, a).expect("it is sound").is_empty());
        encode::diff(a, b).expect("both are sound");
    }
}

/// References, names and units: what is read is written the same and read again.
pub fn reference(bytes: &[u8]) {
    static LOOKED: OnceLock<CheckpointManager> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let manager = LOOKED.get_or_init(|| {
        let disk = MemoryDisk::from_image(&base().0);
        CheckpointManager::open(options(&disk)).expect("a sound store opens")
    });
    drop(manager.agent("a").map(|agent| agent.show(text)));
    if let Some(name) = ViewName::parse(text) {
        assert_eq!(name.to_string(), text);
    }
    if let Some(view) = ViewPath::parse(Path::new(text)) {
        let layout = Layout::new(&view.store);
        assert_eq!(ViewPath::parse(&layout.view(&view.agent, &view.name)), Some(view));
    }
    if let Ok(agent) = AgentId::new(text) {
        assert_eq!(agent.as_str(), text);
    }
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(span.to_string().parse::<Span>().ok(), Some(span));
    }
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse::<ByteSize>().ok(), Some(size));
    }
}

/// A configuration is taken or refused.
pub fn config(bytes: &[u8]) {
    let disk = MemoryDisk::plain();
    let file = PathBuf::from("/stateward.toml");
    disk.put(&file, bytes);
    let sources = Sources { file: Some(file), directory: "/".into(), ..Sources::default() };
    if let Ok(configuration) = Configuration::load(&disk, &sources) {
        assert!(!configuration.entries().is_empty());
    }
}

/// A bundle with a sound digest is taken or refused.
pub fn bundle(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (header, state) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let len = u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut whole = [b"STWDBNDL\x01\0\0\0", &len[..], header, state].concat();
    whole.extend_from_slice(&Digest::of(&whole).0);
    let manager =
        CheckpointManager::open(options(&MemoryDisk::plain())).expect("a new store opens");
    let agent = manager.agent("a").expect("an agent id");
    match agent.import(&whole) {
        Ok(receipt) => {
            let id = receipt.checkpoint.checkpoint_id.to_string();
            let loaded = agent.read_checkpoint(id).expect("it was just taken in");
            assert_eq!(loaded.state_bytes(), Some(state));
        }
        Err(Error::Bundle(_) | Error::State(_) | Error::Refused { .. }) => {}
        Err(error) => panic!("refused for another reason: {error}"),
    }
}
