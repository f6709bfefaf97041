//! What a scrape shows: every number as it is at that moment.

use std::fmt;
use std::sync::Arc;

use keyrack_core::analytics::gaps;
use keyrack_core::health::Reason;
use keyrack_core::keyrack::Keyrack;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::HttpMetrics;
use super::page::{Page, approximate, float, seconds};

/// Reads every number at the moment of a scrape.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) keyrack: Keyrack,
    pub(super) http: Arc<HttpMetrics>,
}

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        page.gauges("build_info", "The version that runs", [([("version", env!("CARGO_PKG_VERSION"))], 1.0)])?;
        self.requests(&mut page)?;
        self.connections(&mut page)?;
        self.decisions(&mut page)?;
        self.deductions(&mut page)?;
        self.state(&mut page)?;
        self.events(&mut page)?;
        self.analytics(&mut page)?;
        self.scheduled(&mut page)?;
        self.assistants(&mut page)
    }
}

impl Shown {
    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.http.operations.iter().flat_map(|requests| {
            let met = requests.statuses().filter(|(_, count)| *count > 0);
            met.map(|(status, count)| ([("operation", requests.operation), ("status", status)], count))
        });
        page.counters("requests", "Requests by operation and HTTP status; 499: the client went away", counts)?;
        let called =
            self.http.operations.iter().filter(|requests| requests.statuses().any(|(_, count)| count > 0));
        let durations = called.map(|requests| ([("operation", requests.operation)], &requests.durations));
        page.histograms("request_duration", "Time from a request's head to its answer, by operation", durations)
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = &self.http.connections;
        page.gauge("connections_open", "Connections that are open", None, float(counts.open.value()))?;
        page.counter("connections", "Connections that were taken", counts.taken.value())?;
        let help = "Connections that were not served: all others were busy, or the system had no file for them";
        let refused = [("full", &counts.refused), ("no_file", &counts.not_taken)];
        let refused = refused.map(|(reason, count)| ([("reason", reason)], count.value()));
        page.counters("connections_refused", help, refused)?;
        let help = "Connections that the server ended, by reason";
        let ended = counts.ends().map(|(reason, count)| ([("reason", reason)], count));
        page.counters("connections_ended", help, ended)?;
        let help = "Bodies of refused requests: read all the same, or cut, in which case their connections ended";
        let bodies = [("read", &counts.bodies_skipped), ("cut", &counts.bodies_cut)];
        let bodies = bodies.map(|(ending, count)| ([("ending", ending)], count.value()));
        page.counters("unwanted_bodies", help, bodies)
    }

    fn decisions(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = self.keyrack.metrics();
        let verifications = metrics.verifications().map(|(outcome, count)| ([("outcome", outcome)], count));
        page.counters("verifications", "Verifications by outcome, unknown keys included", verifications)?;
        let limits = self.keyrack.counters().decisions.values();
        let limits = limits.into_iter().flat_map(|(limit, passed, refused)| {
            [("passed", passed), ("refused", refused)]
                .map(|(decision, count)| ([("limit", limit), ("decision", decision)], count))
        });
        let help = "Rate-limit decisions by kind of limit: of keys and identities, of namespaces, of workspaces";
        page.counters("limit_decisions", help, limits)?;
        let credits = self.keyrack.credits().numbers();
        page.counter("credits_spent", "Credits that verifications spent", credits.spent.value())?;
        let help = "Credits that verifications asked for and keys did not have";
        page.counter("credits_refused", help, credits.refused.value())
    }

    fn deductions(&self, page: &mut Page<'_>) -> fmt::Result {
        let waiting = approximate(self.keyrack.credits().waiting());
        page.gauge("credit_deductions_waiting", "Deductions of credits that wait to be made", None, waiting)?;
        let numbers = self.keyrack.credits().numbers();
        let help = "How many deductions were committed together";
        page.sizes("credit_group_size", help, &numbers.groups)?;
        page.histogram("credit_commit_duration", "Time that those commits took", &numbers.commits)?;
        let help = "Groups of deductions that could not be committed";
        page.counter("credit_group_failures", help, numbers.group_failures.value())
    }

    fn state(&self, page: &mut Page<'_>) -> fmt::Result {
        let sizes = self.keyrack.resident().sizes().0;
        let sizes = sizes.into_iter().map(|(kind, size)| ([("kind", kind)], approximate(size)));
        page.gauges("resident_entries", "Things held in memory, by kind", sizes)?;
        let cells = approximate(self.keyrack.counters().len());
        page.gauge("limit_cells", "Rate-limit counts held in memory", None, cells)?;
        let help = "Rate-limit counts given up before their time, for want of room";
        page.counter("limit_cells_evicted", help, self.keyrack.counters().evicted.value())?;
        let reasons = self.keyrack.reasons();
        let reasons =
            Reason::ALL.map(|reason| ([("reason", reason.name())], f64::from(reasons.contains(&reason))));
        page.gauges("health_reason", "1 for each thing that is wrong with the server", reasons)?;
        let state = self.keyrack.state();
        if let Some(age) = state.change_feed_age() {
            let help = "Time since the changes of all processes were last followed";
            page.gauge("change_feed_age", help, Some(&Unit::Seconds), age.as_secs_f64())?;
        }
        let behind = approximate(usize::try_from(state.generations_behind()).unwrap_or(usize::MAX));
        page.gauge("change_feed_generations_behind", "Changes found and not followed yet", None, behind)?;
        let help = "How often the changes of other processes could not be read";
        page.counter("change_feed_failures", help, state.change_feed_failures())
    }

    fn events(&self, page: &mut Page<'_>) -> fmt::Result {
        let recorder = self.keyrack.recorder();
        page.counter("events", "Events recorded for analytics", recorder.recorded.value())?;
        let dropped =
            gaps::Reason::ALL.map(|reason| ([("reason", reason.name())], recorder.dropped.by(reason).value()));
        let help = "Events lost: there was no place, none more for their workspace, the log could not be written, or \
                    was full of what was not read";
        page.counters("events_dropped", help, dropped)?;
        let help = "Portions of the log of events that could not be written and are lost";
        page.counter("event_log_failures", help, recorder.failed_writes.value())?;
        page.gauge("events_waiting", "Events on their way to the log", None, approximate(recorder.waiting()))?;
        let bytes = float(recorder.log_bytes.value());
        page.gauge("event_log", "Size of the log of events", Some(&Unit::Bytes), bytes)?;
        let age = recorder.log_age(self.keyrack.clock().now()).as_secs_f64();
        let help = "Age of the oldest event in the log; 0 while it has none";
        page.gauge("event_log_age", help, Some(&Unit::Seconds), age)
    }

    fn analytics(&self, page: &mut Page<'_>) -> fmt::Result {
        let analytics = self.keyrack.analytics();
        let asked = analytics.questions().by_outcome().into_iter();
        let asked = asked.map(|(outcome, count)| ([("outcome", outcome)], count));
        page.counters("analytics_queries", "Analytics queries that were read, by outcome", asked)?;
        let help = "Time that analytics queries took, waiting for their turn included";
        page.histogram("analytics_query_duration", help, &analytics.questions().durations)?;
        let Some(standing) = analytics.standing() else { return Ok(()) };
        let bytes = |count: u64| (Some(&Unit::Bytes), float(count));
        for (name, help, (unit, value)) in [
            ("analytics_stored", "Size of the stored events and their sums", bytes(standing.stored_bytes)),
            (
                "analytics_log_behind",
                "Part of the log that analytics do not have yet",
                bytes(standing.behind_bytes),
            ),
            (
                "analytics_rows_unwritten",
                "Events in memory that are in no file yet",
                (None, float(standing.unwritten_rows)),
            ),
            (
                "analytics_damaged_files",
                "Files of events that cannot be read and are left out",
                (None, float(standing.damaged_files)),
            ),
        ] {
            page.gauge(name, help, unit, value)?;
        }
        Ok(())
    }

    fn scheduled(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = self.keyrack.metrics();
        let runs = metrics.scheduled_runs();
        let last =
            runs.iter().filter_map(|(job, runs)| Some(([("task", *job)], seconds(runs.last_success?.get()))));
        let help = "Unix time of the end of the last run that did all that was due, by task";
        page.gauges("scheduled_last_success_timestamp_seconds", help, last)?;
        let failures = runs.iter().map(|(job, runs)| ([("task", *job)], runs.failures));
        page.counters("scheduled_failures", "Runs of scheduled work that failed, by task", failures)?;
        let removed = metrics.rows_removed().map(|(kind, rows)| ([("kind", kind)], rows));
        page.counters("rows_removed", "Rows that scheduled work removed from the database, by kind", removed)
    }

    fn assistants(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = self.keyrack.metrics();
        let calls = metrics.assistant_calls().into_iter();
        let calls =
            calls.map(|((operation, outcome), count)| ([("operation", operation), ("outcome", outcome)], count));
        page.counters("mcp_calls", "Tool calls of assistants by operation and outcome", calls)?;
        let help = "Bytes of the texts that assistants were answered";
        page.counter("mcp_answer_bytes", help, metrics.assistant_bytes.value())?;
        let questions = metrics.assistant_questions().into_iter();
        let questions = questions.map(|((how, outcome), count)| ([("how", how), ("outcome", outcome)], count));
        page.counters(
            "mcp_confirmations",
            "Questions to people before tool calls, and what they said",
            questions,
        )?;
        let help = "Time that tool calls of assistants took";
        page.histogram("mcp_call_duration", help, &metrics.assistant_call_durations)
    }
}
