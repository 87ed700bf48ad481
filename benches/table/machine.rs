//! What the figures depend on: the machine, the file system, who else is busy.

use std::fs;

use stateward::disk::{Disk, RealDisk};

use crate::arguments::Arguments;

/// One line to stand above the table.
pub fn facts(arguments: &Arguments) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let file_system = RealDisk.file_system(arguments.dir()).map_or("?".into(), |found| found.name);
    let kernel = told("/proc/sys/kernel/osrelease");
    format!("{cores} cores, Linux {kernel}, {file_system}, load {} at the end", load())
}

/// Says so when others are at work: ratios survive that better than times, and neither well.
pub fn warn_of_load() {
    let load = load();
    if load.parse::<f64>().is_ok_and(|load| load > 0.5) {
        eprintln!(
            "the load is {load} before anything was started: the figures will be worse for it"
        );
    }
}

fn load() -> String {
    told("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()
}

fn told(path: &str) -> String {
    fs::read_to_string(path).map_or("?".into(), |text| text.trim().to_owned())
}
