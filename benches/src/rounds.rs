//! Variants side by side: loaded in rotation, compared within each round.

use anyhow::{Context as _, Result};

use crate::load::{self, Run, Target};
use crate::server::Server;
use crate::settings::Settings;

/// One of the things that are compared, ready to be loaded.
pub(crate) struct Variant<'a> {
    name: String,
    run: Box<dyn Fn(u32, u64) -> Result<Run> + 'a>,
}

impl<'a> Variant<'a> {
    /// A server that `wrk` asks.
    pub(crate) fn new(settings: &'a Settings, name: &str, server: &'a Server, target: &'a Target) -> Variant<'a> {
        Variant::loaded_by(name, move |connections, seconds| {
            load::wrk(settings, server, target, connections, seconds)
        })
    }

    /// A server that is loaded in a way of its own, told the number of connections and seconds.
    pub(crate) fn loaded_by(name: &str, run: impl Fn(u32, u64) -> Result<Run> + 'a) -> Variant<'a> {
        Variant { name: name.to_owned(), run: Box::new(run) }
    }
}

/// Median, minimum and maximum over rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of values, at least one.
    pub(crate) fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Spread { median: (low + high) / 2.0, min: values[0], max: values[values.len() - 1] }
    }
}

/// All runs of some variants.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) names: Vec<String>,
    /// Number of connections and, for each round, the runs in the order of `names`.
    by_connections: Vec<(u32, Vec<Vec<Run>>)>,
}

/// Loads every variant in every round, starting each round with another one.
pub(crate) fn alternate(settings: &Settings, connections: &[u32], variants: &[Variant<'_>]) -> Result<Rounds> {
    let count = variants.len();
    let mut by_connections = Vec::new();
    for variant in variants {
        (variant.run)(connections[0], 1).with_context(|| format!("warming up {}", variant.name))?;
    }
    for &connections in connections {
        let mut rounds = Vec::new();
        for round in 0..settings.rounds {
            let mut runs = Vec::new();
            for index in (0..count).map(|place| (place + round) % count) {
                let variant = &variants[index];
                let run = (variant.run)(connections, settings.seconds)
                    .with_context(|| format!("{} with {connections} connections", variant.name))?;
                eprintln!(
                    "  round {} of {}, {connections:>2} connections, {:<34} {:>8.0} requests/s {:>9.1} µs CPU {:>8.0} µs p99",
                    round + 1,
                    settings.rounds,
                    variant.name,
                    run.throughput,
                    run.cpu_us,
                    run.p99_us
                );
                runs.push((index, run));
            }
            runs.sort_by_key(|(index, _)| *index);
            rounds.push(runs.into_iter().map(|(_, run)| run).collect());
        }
        by_connections.push((connections, rounds));
    }
    Ok(Rounds { names: variants.iter().map(|variant| variant.name.clone()).collect(), by_connections })
}

impl Rounds {
    /// The numbers of connections.
    pub(crate) fn connections(&self) -> impl Iterator<Item = u32> {
        self.by_connections.iter().map(|(connections, _)| *connections)
    }

    /// A figure of a variant over the rounds.
    ///
    /// # Panics
    /// When there is no such variant or number of connections.
    pub(crate) fn spread(&self, connections: u32, name: &str, figure: fn(&Run) -> f64) -> Spread {
        self.compare(connections, |run| figure(run(name)))
    }

    /// A figure of one variant divided by that of another, within each round.
    ///
    /// # Panics
    /// When there is no such variant or number of connections.
    pub(crate) fn ratio(&self, connections: u32, (above, below): (&str, &str), figure: fn(&Run) -> f64) -> Spread {
        self.compare(connections, |run| figure(run(above)) / figure(run(below)))
    }

    /// A figure of one variant less that of another, within each round.
    ///
    /// # Panics
    /// When there is no such variant or number of connections.
    pub(crate) fn difference(
        &self,
        connections: u32,
        (more, less): (&str, &str),
        figure: fn(&Run) -> f64,
    ) -> Spread {
        self.compare(connections, |run| figure(run(more)) - figure(run(less)))
    }

    fn compare<'a>(&'a self, connections: u32, value: impl Fn(&dyn Fn(&str) -> &'a Run) -> f64) -> Spread {
        let index = |name: &str| self.names.iter().position(|known| known == name);
        let rounds = self.by_connections.iter().find(|(known, _)| *known == connections);
        let rounds = &rounds.expect("loaded with this number of connections").1;
        Spread::of(rounds.iter().map(|runs| value(&|name| &runs[index(name).expect("a known variant")])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_values_is_between_them() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of(vec![7.0, 5.0, 9.0]).median, 7.0);
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        let run = |cpu_us| Run { throughput: 1.0, p50_us: 1.0, p99_us: 1.0, cpu_us };
        let rounds = vec![vec![run(1.0), run(2.0)], vec![run(10.0), run(10.0)], vec![run(3.0), run(4.0)]];
        let rounds = Rounds { names: vec!["a".to_owned(), "b".to_owned()], by_connections: vec![(32, rounds)] };
        let ratio = rounds.ratio(32, ("a", "b"), |run| run.cpu_us);
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.75, 0.5, 1.0));
    }
}
