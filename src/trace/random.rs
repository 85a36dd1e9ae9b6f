//! Random numbers that are the same for a seed on every machine and in every version: a trace can be made again.

/// Splitmix64 (Steele, Lea, Flood 2014): one multiply-shift chain a number, and any seed is a good one.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers of this seed and stream; streams of one seed have nothing in common that shows.
    pub fn new(seed: u64, stream: u64) -> Random {
        let mut seeds = Random(seed);
        let start = seeds.number();
        Random(start ^ Random(stream).number())
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiply-shift: its bias is below 2^-32 for every bound used here.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what a double holds.
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `length` letters and digits.
    pub fn word(&mut self, length: usize) -> impl Iterator<Item = u8> {
        // Five bits a character: 32 of the 36 that hosts use, and no division.
        let mut bits = 0;
        (0..length).map(move |index| {
            if index % 12 == 0 {
                bits = self.number();
            }
            let five = (bits & 31) as u8;
            bits >>= 5;
            if five < 26 { b'a' + five } else { b'0' + (five - 26) }
        })
    }
}

/// Splitmix64's finisher: spreads 64 bits over 64 bits, one to one.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Draws numbers by weight in constant time (Walker's alias method).
#[derive(Clone, Debug)]
pub struct Weighted(Vec<Place>);

/// One number's place, in eight octets: a draw reads one cache line.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Keep the number when 32 random bits are below this, else take `other`.
    keep: u32,
    /// What to take instead; the number itself where it fills its place whole.
    other: u32,
}

impl Weighted {
    /// Numbers 0 to `weights.len() - 1`, each drawn by its share of the sum. Weights that are not above 0 are never drawn;
    /// without any that are, all are alike.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Weighted {
        let mut scaled: Vec<f64> =
            weights.into_iter().take(u32::MAX as usize).map(|weight| weight.max(0.0)).collect();
        let count = scaled.len();
        let sum: f64 = scaled.iter().sum();
        let scale = if sum > 0.0 { count as f64 / sum } else { 0.0 };
        scaled.iter_mut().for_each(|weight| *weight *= scale);
        let mut table = Weighted((0..count as u32).map(|other| Place { keep: u32::MAX, other }).collect());
        if sum <= 0.0 {
            return table;
        }
        // What is below the mean is filled up from what is above it.
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..count as u32).partition(|&index| scaled[index as usize] < 1.0);
        while let (Some(&low), Some(&high)) = (small.last(), large.last()) {
            small.pop();
            let keep = (scaled[low as usize] * f64::from(u32::MAX)) as u32;
            table.0[low as usize] = Place { keep, other: high };
            scaled[high as usize] -= 1.0 - scaled[low as usize];
            if scaled[high as usize] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        table
    }

    /// Zipf's law: the number `n` has weight `1 / (n + 1)^exponent`.
    pub fn zipf(count: usize, exponent: f64) -> Weighted {
        Weighted::new((0..count).map(|rank| ((rank + 1) as f64).powf(-exponent)))
    }

    /// Draws one; 0 when there are none.
    pub fn draw(&self, random: &mut Random) -> usize {
        let bits = random.number();
        let index = (((bits >> 32) * self.0.len() as u64) >> 32) as usize;
        match self.0.get(index) {
            Some(&Place { keep, other }) if (bits as u32) >= keep => other as usize,
            _ => index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence_and_streams_differ() {
        let first = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.number(), random.number()]
        };
        assert_eq!(first(1, 0), first(1, 0));
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
    }

    #[test]
    fn numbers_stay_in_bounds() {
        let mut random = Random::new(7, 0);
        for bound in [1, 2, 3, 1000] {
            assert!((0..1000).all(|_| random.below(bound) < bound));
        }
        assert!((0..1000).map(|_| random.unit()).all(|unit| (0.0..1.0).contains(&unit)));
        assert_eq!(random.below(0), 0);
        assert!(random.word(40).all(|octet| octet.is_ascii_alphanumeric()));
        assert_eq!(random.word(40).count(), 40);
    }

    #[test]
    fn draws_follow_their_weights() {
        for weights in [&[1.0, 1.0][..], &[3.0, 1.0], &[0.0, 5.0, 1.0, 0.5], &[1.0], &[1e-9, 1.0, 1e9]] {
            let table = Weighted::new(weights.iter().copied());
            let (mut random, mut counts) = (Random::new(3, 0), vec![0u32; weights.len()]);
            for _ in 0..100_000 {
                counts[table.draw(&mut random)] += 1;
            }
            let sum: f64 = weights.iter().sum();
            for (weight, count) in weights.iter().zip(&counts) {
                let (expected, found) = (weight / sum, f64::from(*count) / 100_000.0);
                assert!((expected - found).abs() < 0.01, "{weights:?}: {counts:?}");
            }
        }
        assert_eq!(Weighted::new([]).draw(&mut Random::new(1, 1)), 0);
    }

    #[test]
    fn zipf_halves() {
        let table = Weighted::zipf(1000, 1.0);
        let mut random = Random::new(11, 0);
        let draws: Vec<usize> = (0..100_000).map(|_| table.draw(&mut random)).collect();
        let count = |rank| draws.iter().filter(|&&drawn| drawn == rank).count() as f64;
        assert!((count(0) / count(1) - 2.0).abs() < 0.15);
        assert!((count(0) / count(9) - 10.0).abs() < 1.5);
    }
}
