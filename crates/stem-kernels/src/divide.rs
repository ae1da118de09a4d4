//! Work divided over threads, together with the outputs it fills, in safe code and without lists of tasks.

use std::ops::Range;

use rayon::join;

/// Outputs of some pieces of work, first to last.
pub trait Cut: Sized + Send {
    /// Those of the first `pieces`, and the others.
    fn cut(self, pieces: usize) -> (Self, Self);
}

/// Calls `work` with stretches of at most `grain` of the `pieces` and the outputs of each stretch: on all threads, or on this one
/// when there is one stretch.
pub fn divide<T: Cut>(pieces: Range<usize>, grain: usize, outputs: T, work: &(impl Fn(Range<usize>, T) + Sync)) {
    if pieces.len() <= grain.max(1) {
        return work(pieces, outputs);
    }
    let middle = pieces.start + pieces.len() / 2;
    let (low, high) = outputs.cut(middle - pieces.start);
    join(|| divide(pieces.start..middle, grain, low, work), || divide(middle..pieces.end, grain, high, work));
}

/// The same number of values for each piece; the last may have fewer.
#[derive(Debug)]
pub struct Run<'a> {
    /// All values.
    pub values: &'a mut [f32],
    /// How many belong to a piece.
    pub width: usize,
}

impl<'a> Run<'a> {
    /// Values of which each piece has `width`.
    pub fn new(values: &'a mut [f32], width: usize) -> Self {
        Self { values, width }
    }

    /// Takes the values of the next piece.
    pub fn next_piece(&mut self) -> &'a mut [f32] {
        let count = self.width.min(self.values.len());
        let (piece, others) = std::mem::take(&mut self.values).split_at_mut(count);
        self.values = others;
        piece
    }
}

impl Cut for Run<'_> {
    fn cut(self, pieces: usize) -> (Self, Self) {
        let (low, high) = self.values.split_at_mut((pieces * self.width).min(self.values.len()));
        (Self::new(low, self.width), Self::new(high, self.width))
    }
}

/// Several runs side by side.
pub type Runs<'a> = Vec<Run<'a>>;

/// The runs of `[count, ..]`, each piece with `width` values of each.
pub fn runs(values: &mut [f32], count: usize, width: usize) -> Runs<'_> {
    values.chunks_exact_mut((values.len() / count).max(1)).map(|values| Run::new(values, width)).collect()
}

impl Cut for Runs<'_> {
    fn cut(self, pieces: usize) -> (Self, Self) {
        self.into_iter().map(|run| run.cut(pieces)).unzip()
    }
}

impl<T: Cut, const N: usize> Cut for [T; N] {
    fn cut(self, pieces: usize) -> (Self, Self) {
        let mut halves = self.map(|outputs| {
            let (low, high) = outputs.cut(pieces);
            (low, Some(high))
        });
        let high = halves.each_mut().map(|(_, high)| high.take().expect("taken once, here"));
        (halves.map(|(low, _)| low), high)
    }
}

impl<T: Cut> Cut for Option<T> {
    fn cut(self, pieces: usize) -> (Self, Self) {
        self.map(|outputs| outputs.cut(pieces)).unzip()
    }
}

impl<A: Cut, B: Cut, C: Cut> Cut for (A, B, C) {
    fn cut(self, pieces: usize) -> (Self, Self) {
        let ((a, a_high), (b, b_high), (c, c_high)) = (self.0.cut(pieces), self.1.cut(pieces), self.2.cut(pieces));
        ((a, b, c), (a_high, b_high, c_high))
    }
}
