//! Products of matrices so small that they stay in the nearest cache: rows of whole vectors, columns beyond the last padded with 0.
//!
//! ```text
//! by_rows        C = A B        of 8 or 4 rows of A at a time        the maps of some values, and the gradients of what they read
//! by_columns     C = A^T B      of 8 or 4 columns of A               the gradients of maps
//! ```
//!
//! Every sum is taken in the order of what it is over, so that a row has the same bits whatever stands beside it. `FUSED` is 1 where a
//! product is not rounded before it is added, which AVX-512 does at no cost; elsewhere it is 0.

/// Numbers of a vector.
pub(super) const LANES: usize = 16;

/// A vector.
pub(super) type Lanes = [f32; LANES];

/// A vector of zeros.
pub(super) const ZERO: Lanes = [0.0; LANES];

/// What numbers of rows are padded to.
pub(super) const STEP: usize = 4;

/// Vectors that hold so many numbers.
pub(super) fn vectors(numbers: usize) -> usize {
    numbers.div_ceil(LANES)
}

/// `sum + a b`
#[inline(always)]
pub(super) fn add_product<const FUSED: usize>(sum: f32, a: f32, b: f32) -> f32 {
    if FUSED == 1 { a.mul_add(b, sum) } else { sum + a * b }
}

/// `y + a x`, vector by vector.
#[inline(always)]
pub(super) fn add_scaled<const FUSED: usize>(y: &mut [Lanes], a: f32, x: &[Lanes]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = scaled_sum::<FUSED>(y, a, x);
    }
}

/// `y + a x` of one vector. All is read before any is written: the compiler need not ask whether they overlap.
#[inline(always)]
pub(super) fn scaled_sum<const FUSED: usize>(y: &Lanes, a: f32, x: &Lanes) -> Lanes {
    let mut sum = ZERO;
    for i in 0..LANES {
        sum[i] = add_product::<FUSED>(y[i], a, x[i]);
    }
    sum
}

/// `y + x`, vector by vector.
#[inline(always)]
pub(super) fn add(y: &mut [Lanes], x: &[Lanes]) {
    for (y, x) in y.iter_mut().zip(x) {
        let mut sum = ZERO;
        for i in 0..LANES {
            sum[i] = y[i] + x[i];
        }
        *y = sum;
    }
}

/// `d`, and 0 where a ReLU that gave `y` cut.
#[inline(always)]
pub(super) fn cut(d: &Lanes, y: &Lanes) -> Lanes {
    let mut cut = ZERO;
    for i in 0..LANES {
        let kept = if y[i] <= 0.0 { 0 } else { u32::MAX }; // bits, or the compiler asks lane by lane
        cut[i] = f32::from_bits(d[i].to_bits() & kept);
    }
    cut
}

/// `a x`
#[inline(always)]
pub(super) fn scaled(a: f32, x: &Lanes) -> Lanes {
    let mut scaled = ZERO;
    for i in 0..LANES {
        scaled[i] = a * x[i];
    }
    scaled
}

/// `sum_i a_i b_i`: of each lane first, then halves onto halves.
#[inline(always)]
pub(super) fn dot<const FUSED: usize>(a: &[Lanes], b: &[Lanes]) -> f32 {
    let mut sums = ZERO;
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] = add_product::<FUSED>(sums[i], a[i], b[i]);
        }
    }
    fold(sums)
}

/// The sum of all lanes, halves onto halves.
#[inline(always)]
pub(super) fn fold(lanes: Lanes) -> f32 {
    // Opaque, or the compiler sums sixteen values at a time, by gathering the same lane of each: three times as slow.
    let lanes = std::hint::black_box(lanes);
    let mut eight = [0.0f32; 8];
    for i in 0..8 {
        eight[i] = lanes[i] + lanes[i + 8];
    }
    let mut four = [0.0f32; 4];
    for i in 0..4 {
        four[i] = eight[i] + eight[i + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}

/// A matrix whose numbers lie `stride` apart from row to row.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub numbers: &'a [f32],
    pub stride: usize,
}

/// What sums begin with, and what becomes of them. Not closures: those are not sure to be compiled for the instruction set of what calls them.
pub(super) trait Epilogue {
    /// What the sums of a row's vector begin with.
    fn start(&self, row: usize, v: usize) -> Lanes;

    /// Takes them.
    fn finish(&mut self, row: usize, v: usize, sum: Lanes);
}

/// `C = A B`, row by row.
///
/// # Shapes
/// `a [rows, depth]` with `rows` a multiple of [`STEP`], `b [depth, width]` vectors; `C [rows, width]` vectors.
#[inline(always)]
pub(super) fn by_rows<const FUSED: usize>(
    a: Left,
    rows: usize,
    depth: usize,
    (b, width): (&[Lanes], usize),
    mut epilogue: impl Epilogue,
) {
    let mut v = 0;
    while v < width {
        let (two, mut first) = (v + 2 <= width, 0);
        while first < rows {
            let (tile, many) = (Tile { a, depth, b, width, first, v }, first + 8 <= rows);
            match (many, two) {
                (true, true) => tile.of_rows::<8, 2, FUSED>(&mut epilogue),
                (true, false) => tile.of_rows::<8, 1, FUSED>(&mut epilogue),
                (false, true) => tile.of_rows::<4, 2, FUSED>(&mut epilogue),
                (false, false) => tile.of_rows::<4, 1, FUSED>(&mut epilogue),
            }
            first += if many { 8 } else { STEP };
        }
        v += if two { 2 } else { 1 };
    }
}

/// `C = C + A^T B`
///
/// # Shapes
/// `a [depth, rows]`, of which columns up to the next multiple of [`STEP`] are there, `b [depth, width]` vectors; `c` as many rows of `width` vectors.
#[inline(always)]
pub(super) fn by_columns<const FUSED: usize>(
    a: Left,
    rows: usize,
    depth: usize,
    (b, width): (&[Lanes], usize),
    c: &mut [Lanes],
) {
    let mut v = 0;
    while v < width {
        let (two, mut first) = (v + 2 <= width, 0);
        while first < rows {
            let (tile, many) = (Tile { a, depth, b, width, first, v }, first + 8 <= rows.next_multiple_of(STEP));
            match (many, two) {
                (true, true) => tile.of_columns::<8, 2, FUSED>(c),
                (true, false) => tile.of_columns::<8, 1, FUSED>(c),
                (false, true) => tile.of_columns::<4, 2, FUSED>(c),
                (false, false) => tile.of_columns::<4, 1, FUSED>(c),
            }
            first += if many { 8 } else { STEP };
        }
        v += if two { 2 } else { 1 };
    }
}

/// A part of `C` that is summed in registers: some rows from `first` on, some vectors from `v` on.
struct Tile<'a> {
    a: Left<'a>,
    depth: usize,
    b: &'a [Lanes],
    width: usize,
    first: usize,
    v: usize,
}

impl Tile<'_> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // iterators leave sums in memory
    fn of_rows<const R: usize, const V: usize, const FUSED: usize>(&self, epilogue: &mut impl Epilogue) {
        let Self { a, depth, first, v, .. } = *self;
        let mut sums = [[ZERO; V]; R];
        let mut rows = [&a.numbers[..0]; R];
        for r in 0..R {
            rows[r] = &a.numbers[(first + r) * a.stride..][..depth];
            for i in 0..V {
                sums[r][i] = epilogue.start(first + r, v + i);
            }
        }
        for k in 0..depth {
            let b = self.right::<V>(k);
            for r in 0..R {
                step::<V, FUSED>(&mut sums[r], rows[r][k], b);
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (i, sum) in sums.into_iter().enumerate() {
                epilogue.finish(first + r, v + i, sum);
            }
        }
    }

    #[inline(always)]
    fn of_columns<const R: usize, const V: usize, const FUSED: usize>(&self, c: &mut [Lanes]) {
        let Self { a, depth, width, first, v, .. } = *self;
        let mut sums = [[ZERO; V]; R];
        let apart = std::hint::black_box(1);
        for k in 0..depth {
            let b = self.right::<V>(k);
            let row: &[f32; R] = a.numbers[k * a.stride + first..].first_chunk().expect("columns are padded");
            for r in 0..R {
                step::<V, FUSED>(&mut sums[r], row[r * apart % R], b);
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            add(&mut c[(first + r) * width + v..][..V], &sums);
        }
    }

    /// The vectors of row `k` of `B` that are summed.
    #[inline(always)]
    fn right<const V: usize>(&self, k: usize) -> &[Lanes; V] {
        self.b[k * self.width + self.v..].first_chunk().expect("B has as many rows as A has columns")
    }
}

/// `sums + a b`
#[inline(always)]
fn step<const V: usize, const FUSED: usize>(sums: &mut [Lanes; V], a: f32, b: &[Lanes; V]) {
    for v in 0..V {
        for i in 0..LANES {
            sums[v][i] = add_product::<FUSED>(sums[v][i], a, b[v][i]);
        }
    }
}
