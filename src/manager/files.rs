//! Looking at the files of a checkpoint: its workspace and its state files, as they are kept.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::error::Error;
use super::progress::Count;
use super::resolve::Resolved;
use super::tree_plan::{self, Asked, Kept, Now};
use crate::disk::{FileTime, create_dir_all_durable};
use crate::encode::directory::{self, DirNode, FileNode, Node, TreeEntry};
use crate::encode::manifest::Manifest;
use crate::restore::{self, Cause, Files, Scope, Sessions};
use crate::state::{CheckpointId, Digest, Timestamp, lossy};
use crate::store::{BlockKey, ContentError, FileError, OpenPacks, Store};

/// What a kept name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
}

/// One name among a checkpoint's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KeptFile {
    /// Where it is: from the workspace's root, or absolute for a state file. In JSON, what is not
    /// UTF-8 is replaced.
    #[serde(serialize_with = "lossy::path")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub path: PathBuf,
    /// What is kept of it.
    #[serde(flatten)]
    pub facts: FileFacts,
}

/// A kept file reads as its facts: `file.kind`, `file.bytes`.
impl std::ops::Deref for KeptFile {
    type Target = FileFacts;

    fn deref(&self) -> &FileFacts {
        &self.facts
    }
}

/// What is kept of a file, a directory or a link beside its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct FileFacts {
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes; 0 for what is no file.
    pub bytes: u64,
    /// Its permission bits; absent for links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Last change of its content.
    pub modified_at: Timestamp,
    /// The root of its content; absent where it is empty or no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where a link leads, as it is written there.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "lossy::optional")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub target: Option<PathBuf>,
}

impl FileFacts {
    pub(super) fn of(node: &Node) -> Self {
        let (kind, bytes, mode, modified, digest, target) = match node {
            Node::File(file) => {
                let digest = file.content.map(|(digest, _)| digest);
                (FileKind::File, file.len, Some(file.mode), file.modified, digest, None)
            }
            Node::Dir(dir) => (FileKind::Dir, 0, Some(dir.mode), dir.modified, None, None),
            Node::Link(link) => {
                let target = Some(PathBuf::from(&link.target));
                (FileKind::Link, 0, None, link.modified, None, target)
            }
        };
        Self { kind, bytes, mode, modified_at: modified.into(), digest, target }
    }
}

/// Takes the bytes of a file.
type Take<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Where the parts of a checkpoint are read: the store it was found in, or another that holds them.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    id: CheckpointId,
    stores: Vec<Arc<Store>>,
}

impl Reader {
    /// Reads what this checkpoint names.
    pub(super) fn of(agent: &Agent, found: &Resolved) -> Self {
        Self::new(agent, found.held.manifest.id, Some(&found.store))
    }

    pub(super) fn new(agent: &Agent, id: CheckpointId, first: Option<&Arc<Store>>) -> Self {
        let mut stores: Vec<Arc<Store>> = first.into_iter().cloned().collect();
        let others = agent.committer().targets.sighted().into_iter();
        stores.extend(others.filter(|store| !first.is_some_and(|one| Arc::ptr_eq(one, store))));
        Self { id, stores }
    }

    /// The entries of a kept directory.
    pub(super) fn directory(&self, root: BlockKey) -> Result<Vec<TreeEntry>, Error> {
        let mut packs = OpenPacks::default();
        self.first(|store| store.read_directory(root, &mut packs))
    }

    /// The bytes of a kept file, chunk by chunk.
    pub(super) fn file(
        &self,
        file: &FileNode,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let mut taken = 0;
        let mut last = None;
        for store in &self.stores {
            // What another store handed out already is not handed out again.
            let mut seen = 0;
            let skip = taken;
            let read = store.read_file(file, &mut |bytes| {
                seen += bytes.len();
                if seen <= skip {
                    return Ok(());
                }
                let fresh = &bytes[bytes.len().saturating_sub(seen - skip)..];
                take(fresh)?;
                taken = seen;
                Ok(())
            });
            match read {
                Err(FileError::Content(error)) => last = Some(error),
                other => return other,
            }
        }
        let nowhere = || ContentError::Damaged("no store that can be seen holds it".to_owned());
        Err(last.unwrap_or_else(nowhere).into())
    }

    /// The bytes under a root, which the caller has found acceptable in length.
    pub(super) fn content(&self, root: BlockKey, len: u64) -> Result<Vec<u8>, Error> {
        let file = FileNode {
            len,
            content: Some(root),
            mode: 0,
            modified: FileTime::default(),
            has_holes: false,
            group: None,
        };
        self.bytes(&file)
    }

    /// All bytes of a kept file, which the caller has found acceptable in length.
    pub(super) fn bytes(&self, file: &FileNode) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let read = self.file(file, &mut |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        });
        read.map(|()| all).map_err(|error| self.error(&error.into_content()))
    }

    /// The bytes of a block.
    pub(super) fn block(&self, root: BlockKey) -> Result<Vec<u8>, Error> {
        let mut packs = OpenPacks::default();
        self.first(|store| store.read_proven(&root, &mut packs))
    }

    /// What a block names.
    pub(super) fn references(&self, root: BlockKey) -> Result<Vec<BlockKey>, Error> {
        let damaged = |error: directory::PageError| {
            self.error(&ContentError::Damaged(format!("block {}: {error}", root.0)))
        };
        directory::references(root.1, &self.block(root)?).map_err(damaged)
    }

    /// Hands out the bytes of files, for a restore.
    pub(super) fn content_of_files(
        &self,
    ) -> impl Fn(&FileNode, Take<'_>) -> Result<(), Cause> + Sync + '_ {
        |file, take| {
            self.file(file, take).map_err(|error| match error {
                FileError::Content(error) => Cause::from(self.error(&error)),
                FileError::Taker(error) => Cause::from(error),
            })
        }
    }

    fn first<T>(
        &self,
        mut read: impl FnMut(&Store) -> Result<T, ContentError>,
    ) -> Result<T, Error> {
        let mut last = ContentError::Damaged("no store that can be seen holds it".to_owned());
        for store in &self.stores {
            match read(store) {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(self.error(&last))
    }

    /// What went wrong, said of the checkpoint, and noted where it is damage.
    pub(super) fn error(&self, error: &ContentError) -> Error {
        if let (ContentError::Damaged(_), Some(store)) = (error, self.stores.first()) {
            store.note_damaged(self.id);
        }
        super::admission::unreadable(self.id, error)
    }

    /// Every name of a kept tree, directories before what is in them.
    pub(super) fn walk(
        &self,
        root: &DirNode,
        visit: &mut dyn FnMut(&Path, &Node) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut waiting = vec![(PathBuf::new(), *root)];
        while let Some((path, dir)) = waiting.pop() {
            let known = waiting.len();
            for TreeEntry { name, node } in self.directory(dir.root)? {
                let path = path.join(OsStr::new(&name));
                visit(&path, &node)?;
                if let Node::Dir(dir) = node {
                    waiting.push((path, dir));
                }
            }
            waiting[known..].reverse();
        }
        Ok(())
    }

    /// The file at a path in a kept tree.
    pub(super) fn file_at(&self, root: &DirNode, path: &Path) -> Result<Option<FileNode>, Error> {
        let (mut dir, mut names) = (*root, path.iter().peekable());
        while let Some(name) = names.next() {
            let mut entries = self.directory(dir.root)?.into_iter();
            let found = entries.find(|entry| OsStr::new(&entry.name) == name);
            match (found.map(|entry| entry.node), names.peek()) {
                (Some(Node::Dir(inner)), Some(_)) => dir = inner,
                (Some(Node::File(file)), None) => return Ok(Some(file)),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The names in a checkpoint's workspace, in their order, and its state files.
    pub(super) fn files(&self, manifest: &Manifest) -> Result<Vec<KeptFile>, Error> {
        let mut files = Vec::new();
        if let Some(workspace) = &manifest.workspace {
            self.walk(&workspace.root, &mut |path, node| {
                files.push(KeptFile { path: path.to_owned(), facts: FileFacts::of(node) });
                Ok(())
            })?;
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let state_files = manifest.state_files.iter().flat_map(|part| &part.files);
        files.extend(state_files.map(|(path, file)| {
            let facts = FileFacts::of(&Node::File(*file));
            KeptFile { path: path.clone(), facts }
        }));
        Ok(files)
    }
}

impl Agent {
    /// The names in a checkpoint's workspace in their order, a directory before what is in it, and
    /// its state files.
    ///
    /// # Errors
    /// `not_found`; `damaged` where the directories cannot be read.
    pub fn files(&self, reference: &str) -> Result<Vec<KeptFile>, Error> {
        let found = self.resolve(reference)?;
        Reader::of(self, &found).files(&found.held.manifest)
    }

    /// The state files of a checkpoint, one after the other, each proven.
    #[cfg(feature = "cli")]
    pub(crate) fn visit_state_files(
        &self,
        reference: &str,
        visit: &mut dyn FnMut(&Path, Vec<u8>) -> io::Result<()>,
    ) -> Result<(), Error> {
        let found = self.resolve(reference)?;
        let reader = Reader::of(self, &found);
        let files = found.held.manifest.state_files.iter().flat_map(|part| &part.files);
        for (path, file) in files {
            let bytes = reader.bytes(file)?;
            visit(path, bytes).map_err(|source| Error::Io {
                doing: format!("bring {} back", path.display()),
                source,
            })?;
        }
        Ok(())
    }

    /// Writes the workspace of a checkpoint, or the given paths of it, into a directory that is empty
    /// or not there yet, synced. Only looks at the store. Answers what was written.
    ///
    /// # Errors
    /// `not_found`; `refused` where the checkpoint holds no workspace or the directory is not empty;
    /// `damaged` where a file cannot be read as it was kept, and then nothing stays.
    pub fn write_files_to(
        &self,
        reference: &str,
        dir: &Path,
        paths: &[PathBuf],
        dry_run: bool,
    ) -> Result<Files, Error> {
        let found = self.resolve(reference)?;
        let reader = Reader::of(self, &found);
        let Some(part) = &found.held.manifest.workspace else {
            return Err(Error::Refused {
                why: format!("checkpoint {reference} holds no workspace"),
                way_out: "--state-out FILE writes its state".to_owned(),
            });
        };
        let scope = Scope { paths: paths.to_vec(), git: true };
        let sessions = Sessions::default();
        let asked = Asked { scope: &scope, sessions: &sessions, force: false, left: &[] };
        let plan = tree_plan::plan(&Kept { part, reader: &reader }, &Now::Nothing, &asked)?;
        if !dry_run {
            let failed = |doing, source| restore::Error::Io { doing, path: dir.to_owned(), source };
            create_dir_all_durable(self.disk(), dir).map_err(|source| failed("make", source))?;
            let tree = self.disk().tree(dir).map_err(|source| failed("open", source))?;
            let count = Count::of_plan(self.committer(), &plan);
            let content = reader.content_of_files();
            restore::materialise(&*tree, &plan, &content, &|bytes| count.add(bytes))?;
        }
        Ok(plan.files)
    }
}
