//! A progress bar over what is read. Indicatif shows nothing where standard error is no terminal.

use crate::disk::StdDisk;
use indicatif::{ProgressBar, ProgressStyle};

/// Is shown until dropped.
pub struct Progress<'a> {
    disk: &'a StdDisk,
    bar: ProgressBar,
}

impl Progress<'_> {
    /// How much of so many bytes has been read from this disk.
    pub fn show<'a>(disk: &'a StdDisk, bytes: u64, what: &'static str) -> Progress<'a> {
        let style = ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {eta}").expect("a constant template");
        let bar = ProgressBar::new(bytes).with_style(style).with_message(what);
        let watched = bar.clone();
        disk.watch_reads(Some(Box::new(move |read| watched.inc(read))));
        Progress { disk, bar }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.disk.watch_reads(None);
        self.bar.finish_and_clear();
    }
}
