//! Bars on stderr for long work, with rows a second and time left; hidden where stderr is no terminal.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where bars are drawn; nowhere by default. Clones draw to the same place, below each other. Log lines are to be printed through
/// [`suspend`](Self::suspend), so that they do not tear the bars.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<MultiProgress>);

impl Progress {
    /// Bars on stderr, if that is a terminal.
    pub fn on_stderr() -> Self {
        Self(Some(MultiProgress::new()))
    }

    /// Does `print` while no bar is in the way.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// A bar over rows, of which it is known how many there are.
    pub fn rows(&self, label: impl Into<String>, count: usize) -> Bar {
        let bar = self.bar(Some(count), "{prefix} [{bar:24}] {percent:>3}%  {per_sec}  {eta} left  {msg}");
        bar.bar.set_prefix(label.into());
        bar
    }

    /// A count of rows, of which it is not known how many will come.
    pub(crate) fn counter(&self) -> Bar {
        self.bar(None, "{spinner} {elapsed_precise} {human_pos} {msg} ({per_sec})")
    }

    /// A bar over several pieces of work.
    pub fn pieces(&self, label: &str, count: usize) -> Bar {
        let bar = self.bar(Some(count), "{prefix} [{bar:24}] {pos}/{len}  {elapsed} gone, {eta} left  {msg}");
        bar.bar.set_prefix(label.to_string());
        bar
    }

    fn bar(&self, length: Option<usize>, template: &str) -> Bar {
        let length = length.map(|length| length as u64);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        let bar = match &self.0 {
            Some(bars) => bars.add(bar),
            None => bar,
        };
        let style = ProgressStyle::with_template(template).expect("the templates are fixed");
        bar.set_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(250));
        Bar { bar }
    }
}

/// Lines of a log on stderr, above the bars.
impl Write for Progress {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.suspend(|| io::stderr().write(line))
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A bar; it is wiped when it is dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// Moves on by `by`.
    pub fn advance(&self, by: usize) {
        self.bar.inc(by as u64);
    }

    /// Moves to `position`.
    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Shows `message` behind the bar.
    pub fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
