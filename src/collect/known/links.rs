//! Names that lead to one file.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use super::{DirId, Known, What};

impl Known {
    /// Gives the names of each file that has several within the tree a group, and takes it from the
    /// others.
    pub(in super::super) fn group_links(&mut self) {
        if !std::mem::take(&mut self.links_moved) {
            return;
        }
        let mut names: HashMap<(u64, u64), Vec<(DirId, usize)>> = HashMap::new();
        for (id, dir) in self.dirs() {
            for (at, entry) in dir.entries.iter().enumerate() {
                if let What::File(file) = &entry.what
                    && (entry.stat.links > 1 || file.group.is_some())
                {
                    let key = (entry.stat.device, entry.stat.inode);
                    names.entry(key).or_default().push((id, at));
                }
            }
        }
        for places in names.into_values() {
            let group = (places.len() > 1).then(|| self.group_of(&places));
            for (id, at) in places {
                self.set_group(id, at, group);
            }
        }
    }

    /// A number that equal trees agree on: from the first of the paths, in byte order.
    fn group_of(&self, places: &[(DirId, usize)]) -> u64 {
        let path = |(id, at): &(DirId, usize)| {
            let name = self.dir(*id).map(|dir| &dir.entries[*at].name);
            name.map(|name| self.path(*id).join(&**name).into_os_string())
        };
        let first = places.iter().filter_map(path).min_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let digest = blake3::hash(first.unwrap_or_default().as_bytes());
        let bytes = digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
        u64::from_le_bytes(*bytes)
    }

    fn set_group(&mut self, id: DirId, at: usize, group: Option<u64>) {
        let Some(dir) = self.dir_mut(id) else { return };
        if let What::File(file) = &mut dir.entries[at].what
            && file.group != group
        {
            file.group = group;
            self.mark_stale(id);
        }
    }
}
