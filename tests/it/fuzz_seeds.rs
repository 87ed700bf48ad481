//! Every fuzz target takes its seeds; `STATEWARD_FUZZ_CORPUS=fuzz/corpus` writes them down for
//! `cargo fuzz` to begin with.

use std::path::Path;

use stateward::fuzzing::TARGETS;

#[test]
fn every_target_takes_its_seeds() {
    let corpus = std::env::var_os("STATEWARD_FUZZ_CORPUS");
    for (name, target, seeds) in TARGETS {
        let seeds = seeds();
        assert!(!seeds.is_empty() && seeds.iter().all(|seed| !seed.is_empty()), "{name}");
        for (number, seed) in seeds.iter().enumerate() {
            target(seed);
            if let Some(corpus) = &corpus {
                let dir = Path::new(corpus).join(name);
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(dir.join(format!("seed-{number}")), seed).unwrap();
            }
        }
    }
}

/// Bytes that are almost a seed: each seed with each bit of its first bytes turned, and cut short.
#[test]
fn every_target_takes_what_is_almost_a_seed() {
    for (name, target, seeds) in TARGETS {
        let slow = ["recovery", "log", "bundle"].contains(&name);
        for seed in seeds() {
            let step = if slow { 37 } else { 1 };
            for at in (0..seed.len().min(200)).step_by(step) {
                let mut changed = seed.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
                target(&seed[..at]);
            }
        }
    }
}

#[test]
fn every_target_has_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}
