//! A bounded fuzzer: rounds of chance from a seed that is printed, after everything that ever failed.
//!
//! `KEYRACK_TEST_FUZZ_SECONDS` (3 unless set) is how long a target is tried, `KEYRACK_TEST_FUZZ_SEED` (1) where
//! chance begins. A round that fails says its number; it is the same in every run with that seed. What failed once
//! is kept in `tests/corpus/<target>/` and comes first.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Chance, the same for the same seed.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Chance from a seed.
    pub fn new(seed: u64) -> Self {
        Chance(seed)
    }

    /// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    ///
    /// # Panics
    /// When there are none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A text of up to `longest` of these pieces.
    pub fn text(&mut self, pieces: &[&str], longest: usize) -> String {
        (0..self.below(longest + 1)).map(|_| *self.one(pieces)).collect()
    }

    /// Damages bytes in a few places: flips, inserts, removes, repeats, cuts.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.insert(at, u8::try_from(self.below(256)).unwrap_or(0)),
                2 if at < end => drop(bytes.drain(at..end)),
                3 if at < end => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ if self.once_in(4) => bytes.truncate(at),
                _ => {}
            }
        }
    }

    /// A value of any kind, now and then a deep one.
    pub fn value(&mut self) -> Value {
        let odd = [
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(7.5),
            json!(i64::MAX),
            json!(""),
            json!("text"),
            json!("é\u{202e}\n"),
            json!([]),
            json!({}),
            json!({"$serde_json::private::RawValue": "{\"a\":1}"}),
            json!([[[{"a": [1]}]]]),
        ];
        self.one(&odd).clone()
    }

    /// A request that is close to what its schema describes: mostly right, now and then wrong in a place.
    pub fn request(&mut self, schema: &Value) -> Value {
        if self.once_in(40) {
            return self.value();
        }
        if let Some(options) = schema["enum"].as_array() {
            return self.one(options).clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => self.one(kinds).as_str().unwrap_or_default().to_owned(),
            kind => kind.as_str().unwrap_or_default().to_owned(),
        };
        match kind.as_str() {
            "null" => Value::Null,
            "boolean" => json!(self.once_in(2)),
            "integer" => self.integer(schema),
            "string" => self.string(schema),
            "array" => {
                let most = schema["maxItems"].as_u64().unwrap_or(3).min(4);
                let least = schema["minItems"].as_u64().unwrap_or(0);
                let count = usize::try_from(least.max(self.below(4) as u64).min(most)).unwrap_or(0);
                (0..count).map(|_| self.request(&schema["items"])).collect()
            }
            "object" => self.object(schema),
            _ => self.value(),
        }
    }

    fn object(&mut self, schema: &Value) -> Value {
        let mut object = serde_json::Map::new();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|required| required == name);
            if if is_required { !self.once_in(40) } else { self.once_in(3) } {
                object.insert(name.clone(), self.request(inner));
            }
        }
        if self.once_in(20) || (schema["additionalProperties"] != false && self.once_in(3)) {
            let name = self.text(&["a", "é", "_", "$", "limit"], 3);
            object.insert(name, self.value());
        }
        Value::Object(object)
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
        let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
        match self.below(12) {
            0 => json!(least.saturating_sub(1)),
            1 => json!(most.saturating_add(1)),
            2 => json!(most),
            3 => json!(7.5),
            #[expect(clippy::cast_precision_loss, reason = "small numbers are exact")]
            4 if (-(1 << 50)..1 << 50).contains(&least) => json!(least as f64),
            5 => json!(least.saturating_add(1).min(most)),
            _ => json!(least),
        }
    }

    fn string(&mut self, schema: &Value) -> Value {
        let least = usize::try_from(schema["minLength"].as_u64().unwrap_or(0)).unwrap_or(0);
        let most = usize::try_from(schema["maxLength"].as_u64().unwrap_or(600)).unwrap_or(600);
        if schema["format"] == "address-or-network" {
            return json!(self.one(&["192.0.2.1", "10.0.0.0/8", "2001:db8::/32", "::1"]));
        }
        let length = match self.below(8) {
            0 => least.saturating_sub(1),
            1 => most,
            2 => most + 1,
            _ => (least + self.below(9)).min(most),
        };
        let letter = if self.once_in(6) { *self.one(&["é", "🗝", "!", "\n", " "]) } else { "a" };
        json!(letter.repeat(length))
    }
}

/// The rounds of one target; iterate over them.
#[derive(Debug)]
pub struct Rounds {
    target: &'static str,
    seed: u64,
    round: u64,
    until: Instant,
}

/// Begins a target.
pub fn rounds(target: &'static str) -> Rounds {
    let set = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seconds = set("KEYRACK_TEST_FUZZ_SECONDS").unwrap_or(3);
    let seed = set("KEYRACK_TEST_FUZZ_SEED").unwrap_or(1);
    eprintln!("fuzz {target}: seed {seed}, {seconds} s");
    Rounds { target, seed, round: 0, until: Instant::now() + Duration::from_secs(seconds) }
}

impl Iterator for Rounds {
    type Item = Chance;

    fn next(&mut self) -> Option<Chance> {
        if Instant::now() >= self.until {
            return None;
        }
        self.round += 1;
        Some(Chance(self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ self.round))
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        let Rounds { target, seed, round, .. } = self;
        let ended = if std::thread::panicking() { "failed in round" } else { "rounds" };
        eprintln!("fuzz {target}: seed {seed}, {ended} {round}");
    }
}

/// What ever failed in a target: the names of its files and what is in them, in the order of the names.
///
/// # Panics
/// When there is no folder for the target.
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus")).join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<_> = files
        .map(|file| {
            let path = file.expect("a folder can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a file can be read"))
        })
        .collect();
    found.sort();
    found
}
