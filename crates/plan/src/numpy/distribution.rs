//! Distributions of numpy's legacy generator, which consume its stream in the same order.

use super::Mt19937;

impl Mt19937 {
    /// Draws from the standard normal distribution with the polar method, which yields two values; the second one is
    /// kept for the next call.
    pub fn standard_normal(&mut self) -> f64 {
        if let Some(kept) = self.gauss.take() {
            return kept;
        }
        loop {
            let x1 = 2.0 * self.double() - 1.0;
            let x2 = 2.0 * self.double() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                let f = (-2.0 * r2.ln() / r2).sqrt();
                self.gauss = Some(f * x1);
                return f * x2;
            }
        }
    }

    /// Draws from a normal distribution.
    pub fn normal(&mut self, mean: f64, stdev: f64) -> f64 {
        mean + stdev * self.standard_normal()
    }

    /// Draws from the uniform distribution over [min, max).
    pub fn uniform(&mut self, min: f64, max: f64) -> f64 {
        min + (max - min) * self.double()
    }

    /// Draws from an exponential distribution with this mean.
    pub fn exponential(&mut self, scale: f64) -> f64 {
        scale * self.standard_exponential()
    }

    fn standard_exponential(&mut self) -> f64 {
        -(1.0 - self.double()).ln()
    }

    /// Draws from a gamma distribution.
    pub fn gamma(&mut self, shape: f64, scale: f64) -> f64 {
        scale * self.standard_gamma(shape)
    }

    #[expect(clippy::float_cmp, reason = "numpy takes these branches at exactly these shapes")]
    fn standard_gamma(&mut self, shape: f64) -> f64 {
        if shape == 1.0 {
            self.standard_exponential()
        } else if shape == 0.0 {
            0.0
        } else if shape < 1.0 {
            self.gamma_below_one(shape)
        } else {
            self.gamma_above_one(shape)
        }
    }

    fn gamma_below_one(&mut self, shape: f64) -> f64 {
        loop {
            let u = self.double();
            let v = self.standard_exponential();
            if u <= 1.0 - shape {
                let x = u.powf(1.0 / shape);
                if x <= v {
                    return x;
                }
            } else {
                let y = -((1.0 - u) / shape).ln();
                let x = (1.0 - shape + shape * y).powf(1.0 / shape);
                if x <= v + y {
                    return x;
                }
            }
        }
    }

    #[expect(clippy::many_single_char_names, reason = "the names of Marsaglia and Tsang (2000)")]
    fn gamma_above_one(&mut self, shape: f64) -> f64 {
        let b = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * b).sqrt();
        loop {
            let (x, v) = loop {
                let x = self.standard_normal();
                let v = 1.0 + c * x;
                if v > 0.0 {
                    break (x, v * v * v);
                }
            };
            let u = self.double();
            if u < 1.0 - 0.0331 * (x * x) * (x * x) || u.ln() < 0.5 * x * x + b * (1.0 - v + v.ln()) {
                return b * v;
            }
        }
    }

    /// Draws a whole number from a Poisson distribution.
    pub fn poisson(&mut self, lam: f64) -> f64 {
        if lam >= 10.0 {
            self.poisson_by_rejection(lam)
        } else if lam == 0.0 {
            0.0
        } else {
            self.poisson_by_products(lam)
        }
    }

    fn poisson_by_products(&mut self, lam: f64) -> f64 {
        let limit = (-lam).exp();
        let (mut events, mut product) = (0.0, 1.0);
        loop {
            product *= self.double();
            if product <= limit {
                return events;
            }
            events += 1.0;
        }
    }

    /// Transformed rejection by Hörmann (1993), which numpy uses for λ ≥ 10.
    #[expect(clippy::many_single_char_names, reason = "the names of Hörmann (1993)")]
    fn poisson_by_rejection(&mut self, lam: f64) -> f64 {
        let log_lam = lam.ln();
        let b = 0.931 + 2.53 * lam.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let vr = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.double() - 0.5;
            let v = self.double();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + lam + 0.43).floor();
            if us >= 0.07 && v <= vr {
                return k;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let bound = -lam + k * log_lam - log_gamma(k + 1.0);
            if v.ln() + inverse_alpha.ln() - (a / (us * us) + b).ln() <= bound {
                return k;
            }
        }
    }
}

/// The ln Γ of numpy, whose rounding decides borderline rejections.
#[expect(clippy::float_cmp, reason = "numpy takes this branch at exactly these values")]
fn log_gamma(x: f64) -> f64 {
    const SERIES: [f64; 10] = [
        8.333_333_333_333_333e-2,
        -2.777_777_777_777_778e-3,
        7.936_507_936_507_937e-4,
        -5.952_380_952_380_952e-4,
        8.417_508_417_508_418e-4,
        -1.917_526_917_526_918e-3,
        6.410_256_410_256_41e-3,
        -2.955_065_359_477_124e-2,
        1.796_443_723_688_307e-1,
        -1.392_432_216_905_9,
    ];
    const LOG_TWO_PI: f64 = 1.837_877_066_409_345_3;
    if x == 1.0 || x == 2.0 {
        return 0.0;
    }
    let shift = if x < 7.0 { (7.0 - x).trunc() } else { 0.0 };
    let mut shifted = x + shift;
    let inverse_square = (1.0 / shifted) * (1.0 / shifted);
    let series = SERIES.iter().rev().copied().reduce(|sum, term| sum * inverse_square + term).unwrap_or_default();
    let mut result = series / shifted + 0.5 * LOG_TWO_PI + (shifted - 0.5) * shifted.ln() - shifted;
    let mut steps = shift;
    while steps > 0.0 {
        result -= (shifted - 1.0).ln();
        shifted -= 1.0;
        steps -= 1.0;
    }
    result
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "compared bit for bit")]
mod tests {
    use super::*;

    fn four(mut draw: impl FnMut(&mut Mt19937) -> f64) -> [f64; 4] {
        let mut generator = Mt19937::new(42);
        [(); 4].map(|()| draw(&mut generator))
    }

    /// Returns the last of ten thousand draws and the double after them: all rejections and cached values must agree.
    fn after_ten_thousand(mut draw: impl FnMut(&mut Mt19937) -> f64) -> (f64, f64) {
        let mut generator = Mt19937::new(7);
        let last = (0..10_000).map(|_| draw(&mut generator)).last().unwrap();
        (last, generator.double())
    }

    #[test]
    fn first_draws_equal_those_recorded_from_numpy() {
        let doubles =
            [0.374_540_118_847_362_5, 0.950_714_306_409_916_2, 0.731_993_941_811_405_1, 0.598_658_484_197_036_6];
        assert_eq!(four(Mt19937::double), doubles);
        let normals =
            [1.624_178_538_252_808_2, 1.465_433_924_707_204, 1.661_922_134_525_173_1, 1.880_757_464_102_006_4];
        assert_eq!(four(|generator| generator.normal(1.5, 0.25)), normals);
        let uniforms =
            [0.437_270_059_423_681_25, 0.725_357_153_204_958_1, 0.615_996_970_905_702_5, 0.549_329_242_098_518_3];
        assert_eq!(four(|generator| generator.uniform(0.25, 0.75)), uniforms);
        let exponentials =
            [0.140_780_426_993_057_73, 0.903_036_429_275_256_3, 0.395_023_708_063_634_8, 0.273_882_766_132_785_95];
        assert_eq!(four(|generator| generator.exponential(0.3)), exponentials);
        assert_eq!(four(|generator| generator.gamma(1.0, 0.3)), exponentials);
        let gammas =
            [0.894_940_609_627_443_8, 0.590_835_887_244_603_8, 0.551_986_541_023_673_5, 0.551_993_042_470_913_2];
        assert_eq!(four(|generator| generator.gamma(2.5, 0.3)), gammas);
        let small_gammas = [
            0.042_084_090_187_858_93,
            0.197_705_409_852_655_53,
            0.007_302_544_849_651_886,
            0.001_012_111_800_751_742_5,
        ];
        assert_eq!(four(|generator| generator.gamma(0.5, 0.3)), small_gammas);
        assert_eq!(four(|generator| generator.poisson(3.5)), [4.0, 1.0, 3.0, 4.0]);
        assert_eq!(four(|generator| generator.poisson(12.0)), [11.0, 14.0, 8.0, 13.0]);
        assert_eq!(four(|generator| generator.poisson(250.0)), [244.0, 261.0, 232.0, 255.0]);
    }

    #[test]
    fn the_stream_stays_in_step_with_numpy_over_ten_thousand_draws() {
        assert_eq!(after_ten_thousand(|g| g.gamma(2.5, 0.3)), (0.850_957_917_594_810_9, 0.255_931_638_591_888_83));
        assert_eq!(after_ten_thousand(|g| g.gamma(0.5, 0.3)), (0.058_564_417_338_113_58, 0.389_921_074_517_651_57));
        assert_eq!(after_ten_thousand(|g| g.exponential(0.3)), (0.051_231_612_179_396_514, 0.873_347_630_444_556_7));
        assert_eq!(after_ten_thousand(|g| g.poisson(12.0)), (12.0, 0.933_671_259_321_020_1));
        assert_eq!(after_ten_thousand(|g| g.poisson(250.0)), (230.0, 0.461_612_014_059_387_7));
        assert_eq!(after_ten_thousand(|g| g.poisson(3.5)), (1.0, 0.896_701_209_635_206_9));
    }
}
