//! What a person sees of long work, on stderr: a bar with loss, rows a second and time left; hidden when nobody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The bar of one epoch.
#[derive(Debug)]
pub struct EpochBar {
    bar: ProgressBar,
}

impl EpochBar {
    /// A bar over `rows` rows. `shown` false draws nothing; without a terminal nothing is drawn either.
    pub fn new(label: &str, epoch: usize, epochs: usize, rows: usize, shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(rows as u64), target);
        let style = ProgressStyle::with_template("{prefix} [{bar:24}] {percent:>3}%  {per_sec}  {eta} left  {msg}")
            .expect("the template is fixed");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(format!("{label} epoch {epoch}/{epochs}"));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// `rows` more are done; the loss so far.
    pub fn advance(&self, rows: usize, loss: Option<f64>) {
        self.bar.inc(rows as u64);
        if let Some(loss) = loss {
            self.bar.set_message(format!("loss {loss:.4}"));
        }
    }
}

impl Drop for EpochBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
