//! The scenarios that are part of the program, by the names of their files in `validate/`; a test sees
//! to it that none is missing.

/// File names and contents.
pub(super) const SHIPPED: &[(&str, &str)] = &[
    (
        "a-call-fails-during-workspace-restore.toml",
        include_str!("../../validate/a-call-fails-during-workspace-restore.toml"),
    ),
    ("a-call-fails-once.toml", include_str!("../../validate/a-call-fails-once.toml")),
    ("a-disk-that-fills-up.toml", include_str!("../../validate/a-disk-that-fills-up.toml")),
    ("a-write-fails-half-way.toml", include_str!("../../validate/a-write-fails-half-way.toml")),
    ("bit-flips.toml", include_str!("../../validate/bit-flips.toml")),
    ("client-that-hangs-up.toml", include_str!("../../validate/client-that-hangs-up.toml")),
    ("clock-jumps.toml", include_str!("../../validate/clock-jumps.toml")),
    ("crash-during-compaction.toml", include_str!("../../validate/crash-during-compaction.toml")),
    ("crash-during-homecoming.toml", include_str!("../../validate/crash-during-homecoming.toml")),
    (
        "crash-during-large-states.toml",
        include_str!("../../validate/crash-during-large-states.toml"),
    ),
    (
        "crash-during-restore-and-undo.toml",
        include_str!("../../validate/crash-during-restore-and-undo.toml"),
    ),
    (
        "crash-during-workspace-restore.toml",
        include_str!("../../validate/crash-during-workspace-restore.toml"),
    ),
    (
        "database-in-the-workspace.toml",
        include_str!("../../validate/database-in-the-workspace.toml"),
    ),
    ("directory-taken-away.toml", include_str!("../../validate/directory-taken-away.toml")),
    ("disk-full.toml", include_str!("../../validate/disk-full.toml")),
    ("drift-and-restore.toml", include_str!("../../validate/drift-and-restore.toml")),
    ("drift-flapping.toml", include_str!("../../validate/drift-flapping.toml")),
    ("errors-on-sync.toml", include_str!("../../validate/errors-on-sync.toml")),
    (
        "errors-that-last-are-bounded.toml",
        include_str!("../../validate/errors-that-last-are-bounded.toml"),
    ),
    (
        "full-file-system-for-real.toml",
        include_str!("../../validate/full-file-system-for-real.toml"),
    ),
    ("kill-at-every-write.toml", include_str!("../../validate/kill-at-every-write.toml")),
    ("killed-for-real.toml", include_str!("../../validate/killed-for-real.toml")),
    ("late-detection.toml", include_str!("../../validate/late-detection.toml")),
    ("old-format-read.toml", include_str!("../../validate/old-format-read.toml")),
    ("permission-denied.toml", include_str!("../../validate/permission-denied.toml")),
    ("permission-lost-for-real.toml", include_str!("../../validate/permission-lost-for-real.toml")),
    (
        "power-loss-at-every-write.toml",
        include_str!("../../validate/power-loss-at-every-write.toml"),
    ),
    (
        "power-loss-while-segments-roll.toml",
        include_str!("../../validate/power-loss-while-segments-roll.toml"),
    ),
    ("primary-gone-and-back.toml", include_str!("../../validate/primary-gone-and-back.toml")),
    ("private-by-default.toml", include_str!("../../validate/private-by-default.toml")),
    ("quota-used-up.toml", include_str!("../../validate/quota-used-up.toml")),
    ("read-only.toml", include_str!("../../validate/read-only.toml")),
    ("reader-beside-writer.toml", include_str!("../../validate/reader-beside-writer.toml")),
    ("recovery-interrupted.toml", include_str!("../../validate/recovery-interrupted.toml")),
    (
        "recovery-interrupted-after-compaction.toml",
        include_str!("../../validate/recovery-interrupted-after-compaction.toml"),
    ),
    (
        "recovery-interrupted-after-restores.toml",
        include_str!("../../validate/recovery-interrupted-after-restores.toml"),
    ),
    (
        "recovery-interrupted-while-segments-roll.toml",
        include_str!("../../validate/recovery-interrupted-while-segments-roll.toml"),
    ),
    ("retention-under-pressure.toml", include_str!("../../validate/retention-under-pressure.toml")),
    (
        "rolled-back-and-swapped-files.toml",
        include_str!("../../validate/rolled-back-and-swapped-files.toml"),
    ),
    (
        "rot-in-the-log-without-views.toml",
        include_str!("../../validate/rot-in-the-log-without-views.toml"),
    ),
    (
        "sidecar-killed-under-load.toml",
        include_str!("../../validate/sidecar-killed-under-load.toml"),
    ),
    ("slow-disk.toml", include_str!("../../validate/slow-disk.toml")),
    ("torn-log-tail.toml", include_str!("../../validate/torn-log-tail.toml")),
    ("two-homes-one-fallback.toml", include_str!("../../validate/two-homes-one-fallback.toml")),
    ("two-writers.toml", include_str!("../../validate/two-writers.toml")),
    ("unmounted-volume.toml", include_str!("../../validate/unmounted-volume.toml")),
    (
        "workspace-changed-during-restore.toml",
        include_str!("../../validate/workspace-changed-during-restore.toml"),
    ),
    (
        "workspace-changed-during-snapshot.toml",
        include_str!("../../validate/workspace-changed-during-snapshot.toml"),
    ),
    (
        "workspace-recovery-interrupted.toml",
        include_str!("../../validate/workspace-recovery-interrupted.toml"),
    ),
];
