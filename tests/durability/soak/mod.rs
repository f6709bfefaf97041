//! The soak: a mixed load for a while, under which memory and file descriptors stay what they are.
//!
//! `KEYRACK_TEST_SOAK_SECONDS` is how long it lasts, `KEYRACK_TEST_SOAK_PROGRAM` another build of the program.

mod load;

use std::time::{Duration, Instant};

use keyrack_test_harness::{Program, Server};

use load::{CELLS, Load};

/// What memory may grow by between the medians of the first and the last third: page caches of the database that
/// fill, and what the allocator happens to hold back. At 1,000 requests per second it is 300 bytes lost per
/// request in a run of 30 seconds, and 15 in one of ten minutes.
const TOLERANCE_KIB: u64 = 6 * 1024;
/// Connections that come and go are open or not when a sample is taken.
const TOLERANCE_DESCRIPTORS: u64 = 12;
/// Connections to the database that nobody needed before stay open; each has two files.
const TOLERANCE_AT_REST: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process has at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kib: u64,
    descriptors: u64,
}

fn sample(process: u32) -> Sample {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs").count();
    Sample { resident_kib: crate::limits_flood::resident_kib(process), descriptors: descriptors as u64 }
}

fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// A sample a second, until it is dropped.
async fn watch(process: u32, samples: &mut Vec<Sample>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        samples.push(sample(process));
    }
}

/// The number of descriptors when it has not changed for a second, which it must within [`PATIENCE`].
async fn settled_descriptors(process: u32) -> u64 {
    let (started, mut last) = (Instant::now(), sample(process).descriptors);
    loop {
        assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?} descriptors still come and go, {last} by now");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = sample(process).descriptors;
        if now == last {
            return now;
        }
        last = now;
    }
}

fn seconds() -> u64 {
    let told = std::env::var("KEYRACK_TEST_SOAK_SECONDS").ok();
    told.map_or(30, |told| told.parse().expect("KEYRACK_TEST_SOAK_SECONDS is a number"))
}

/// Whether it lasts long enough for analytics: their threads take what memory they need when they first write files, and
/// when they first compact some, after a minute; that would look like growth.
fn has_analytics() -> bool {
    seconds() >= 600
}

/// Until buffers, pools, threads and everything that has a bound have their size.
fn warm_up() -> Duration {
    Duration::from_secs(if has_analytics() { 200 } else { (seconds() / 4).clamp(5, 60) })
}

async fn server() -> Server {
    let binary = std::env::var("KEYRACK_TEST_SOAK_PROGRAM");
    let program = binary.map_or_else(|_| crate::program(), Program::new);
    // Small bounds, so that what has one reaches it while it warms up, and the event log rotates.
    let program = program.env("KEYRACK_RATELIMIT_CELLS", &CELLS.to_string());
    let program = if has_analytics() { program } else { program.env("KEYRACK_ANALYTICS_BYTES", "0") };
    program.env("KEYRACK_EVENT_LOG_BYTES", "4000000").env("KEYRACK_LOG", "warn").start().await
}

/// Fails unless the last third is like the first.
fn assert_flat(samples: &[Sample]) {
    let third = samples.len() / 3;
    let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
    let memory = [first, last].map(|part| median(part, |sample| sample.resident_kib));
    let open = [first, last].map(|part| median(part, |sample| sample.descriptors));
    let [before, after] = memory.map(|kib| kib as f64 / 1024.0);
    eprintln!("resident {before:.1} MiB, then {after:.1} MiB; descriptors {}, then {}", open[0], open[1]);
    assert!(memory[1] <= memory[0] + TOLERANCE_KIB, "memory grew: {samples:?}");
    assert!(open[1] <= open[0] + TOLERANCE_DESCRIPTORS, "descriptors grew: {samples:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_descriptors_stay_flat_under_a_mixed_load() {
    let seconds = seconds();
    let server = server().await;
    let load = Load::new(&server).await;
    load.run(warm_up()).await;
    let base = settled_descriptors(server.process()).await;
    let (mut samples, warm) = (Vec::new(), load.requests());
    tokio::select! {
        () = load.run(Duration::from_secs(seconds)) => {}
        () = watch(server.process(), &mut samples) => {}
    }
    let requests = load.requests() - warm;
    let end = settled_descriptors(server.process()).await;
    eprintln!("{seconds} s, {requests} requests; at rest {base} descriptors before, {end} after");
    assert!(end <= base + TOLERANCE_AT_REST, "{base} descriptors were open before the load, {end} after");
    assert!(requests > 20 * seconds, "little was done: {requests} requests");
    assert_flat(&samples);
    load.adds_up(&server).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
