//! The steps of a run: changes, and what happens to those who make them.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Cluster, Database, Fault, Traffic};
use serde_json::json;

use super::STALE_SECONDS;
use super::processes::Truth;
use super::requests::{self, Random, Request};
use super::world::{LASTING_NAMESPACE, NAMESPACE};

/// What may be old beyond the setting: the time in which answers are made, on a busy machine.
const SLACK: Duration = Duration::from_secs(1);
/// What a process says that did nothing because its caller may do less by now.
const SEND_AGAIN: &str = "nothing was done. Send it again";
/// How many steps are made in the same haste.
const PHASE: u64 = 40;
/// How long a commit goes on after who asked for it is gone.
const AFTERLIFE: Duration = Duration::from_millis(500);

/// Processes on one database, and what has to be true of them.
pub(super) struct Run {
    cluster: Cluster,
    database: Database,
    truth: Truth,
    random: Random,
    /// Which processes need not know the latest change yet.
    behind: Vec<bool>,
    is_postgres: bool,
    left: u64,
    /// How often in a thousand all processes are waited for after a step.
    patience: u64,
}

/// What a step does beside a change, and how often in a thousand.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    CommitFails,
    CommitIsNotHeardOf,
    CallerLeaves,
    ConnectionsBreak,
    Killed,
    Suspended,
    CutOff,
}

const TROUBLES: [(u64, Trouble); 7] = [
    (40, Trouble::CommitFails),
    (40, Trouble::CommitIsNotHeardOf),
    (30, Trouble::CallerLeaves),
    (20, Trouble::ConnectionsBreak),
    (8, Trouble::Killed),
    (8, Trouble::Suspended),
    (6, Trouble::CutOff),
];

impl Run {
    pub(super) async fn new(cluster: Cluster, seed: u64, about: String) -> Self {
        let database = Database::at(cluster.database_url()).await;
        let is_postgres = cluster.database_url().starts_with("postgres");
        // The namespaces are there, so that every process can be asked about overrides and root keys.
        for name in [NAMESPACE, LASTING_NAMESPACE] {
            cluster[0].call("ratelimit.createNamespace", json!({ "name": name })).await.expect(200);
        }
        let behind = vec![true; cluster.len()];
        let (truth, random) = (Truth::new(about), Random(seed));
        Run { cluster, database, truth, random, behind, is_postgres, left: 0, patience: 0 }
    }

    /// Goes so many steps; at the end all processes agree.
    pub(super) async fn go(mut self, steps: u64) {
        self.left = steps;
        let mut phase = None;
        while self.left > 0 {
            // Without haste nobody is behind, and what was missed for ever shows; with it, everybody is.
            if phase.replace(self.left / PHASE) != Some(self.left / PHASE) {
                self.patience = [50, 250, 1000][self.random.place(3)];
            }
            let mut chance = self.random.below(1000);
            let trouble = TROUBLES.iter().find(|(of_thousand, _)| {
                let is_met = chance < *of_thousand;
                chance = chance.saturating_sub(*of_thousand);
                is_met
            });
            match trouble {
                Some((_, trouble)) => self.meet(*trouble).await,
                None => self.change().await,
            }
            if self.random.permille(self.patience) {
                self.all_agree().await;
            }
        }
        self.all_agree().await;
    }

    fn any_process(&mut self) -> usize {
        self.random.place(self.cluster.len())
    }

    async fn meet(&mut self, trouble: Trouble) {
        let process = self.any_process();
        self.truth.tell(format!("process {process}: {trouble:?}"));
        match trouble {
            Trouble::CommitFails => self.commit_fails(process).await,
            Trouble::CommitIsNotHeardOf if self.is_postgres => self.commit_is_not_heard_of(process).await,
            Trouble::CallerLeaves => self.caller_leaves(process).await,
            Trouble::ConnectionsBreak if self.is_postgres => self.connections_break(process).await,
            // Between a process and a file there is nothing that could break but the process.
            Trouble::Killed | Trouble::CommitIsNotHeardOf => self.killed(process).await,
            Trouble::Suspended => self.suspended(process).await,
            Trouble::CutOff if self.is_postgres => self.cut_off(process).await,
            Trouble::ConnectionsBreak | Trouble::CutOff => self.change_in(process, true).await,
        }
    }

    fn request(&mut self) -> Request {
        self.left = self.left.saturating_sub(1);
        requests::any(self.truth.likely(), &mut self.random)
    }

    /// Asks for a change, with the root key that it names.
    async fn ask(&self, process: usize, request: &Request) -> Option<Answer> {
        let server = &self.cluster[process];
        let root_key = request.by.as_ref().map(|by| &self.truth.likely().root_keys[by].secret);
        let client = root_key.map_or_else(|| server.client(), |root_key| server.with_key(root_key));
        let asked = Instant::now();
        loop {
            let answer = client.call_if_there(request.operation, request.body.clone()).await;
            // A process that has not heard yet what the caller may do now changes nothing and says so.
            let is_to_ask_again =
                answer.as_ref().is_some_and(|answer| answer.status == 503 && answer.detail().contains(SEND_AGAIN));
            if !is_to_ask_again || !self.behind[process] || asked.elapsed() > SLACK {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes note of an answer; whether all is as if nothing had gone wrong.
    fn note(&mut self, process: usize, request: &Request, answer: Option<&Answer>) -> bool {
        let (by, body) = (request.by.as_deref().unwrap_or("operator"), &request.body);
        let said = answer.map_or_else(|| "no answer".to_owned(), |answer| answer.status.to_string());
        self.truth.tell(format!("process {process}: {} {body} by {by}: {said}", request.operation));
        match answer {
            Some(answer) if answer.status == 200 => {
                if self.truth.done(request, answer) {
                    self.behind.fill(true);
                    self.behind[process] = false;
                }
                true
            }
            Some(answer) if answer.status < 500 => {
                self.truth.refused(request, answer, self.behind[process]);
                true
            }
            // A promise that is checked like all else.
            Some(answer) if answer.detail().contains("nothing was changed") => false,
            _ => {
                self.truth.unknown(request);
                self.behind.fill(true);
                false
            }
        }
    }

    async fn change(&mut self) {
        let process = self.any_process();
        self.change_in(process, true).await;
    }

    /// A change that nothing stands in the way of, if all is `well`.
    async fn change_in(&mut self, process: usize, well: bool) {
        let request = self.request();
        let answer = self.ask(process, &request).await;
        let was_well = self.note(process, &request, answer.as_ref());
        if well && !was_well {
            let text = answer.map_or_else(String::new, |answer| answer.text);
            self.truth.fail(&format!("process {process} has no reason to fail: {text}"));
        }
        self.knows(process, well).await;
    }

    /// A process that acknowledged the last change knows everything; another one will soon.
    async fn knows(&mut self, process: usize, well: bool) {
        if self.behind[process] {
            self.agrees(process, Instant::now()).await;
        } else {
            self.truth.holds_at_once(&self.cluster[process], process, well).await;
        }
    }

    async fn agrees(&mut self, process: usize, since: Instant) {
        let is_sure = self.truth.holds_soon(&self.cluster[process], process, since).await;
        self.behind[process] = !is_sure;
    }

    async fn all_agree(&mut self) {
        for process in 0..self.cluster.len() {
            let since = self.truth.changed;
            self.agrees(process, since).await;
        }
    }

    async fn commit_fails(&mut self, process: usize) {
        let fault = [Fault::Commit, Fault::Commit, Fault::ChangeFeed, Fault::AuditLog][self.random.place(4)];
        let request = self.request();
        self.database.break_at(fault).await;
        let answer = self.ask(process, &request).await;
        self.database.mend(fault).await;
        // What changes nothing, or is refused, meets no fault.
        if answer.as_ref().is_some_and(|answer| answer.status < 500) {
            self.note(process, &request, answer.as_ref());
        } else {
            // Whatever was said: nothing was changed.
            self.truth
                .tell(format!("process {process}: {} {} fails at {fault:?}", request.operation, request.body));
        }
        self.knows(process, false).await;
    }

    async fn commit_is_not_heard_of(&mut self, process: usize) {
        let traffic = [Traffic::BreaksBeforeCommit, Traffic::BreaksAfterCommit][self.random.place(2)];
        let request = self.request();
        self.cluster.set_traffic(process, traffic);
        let answer = self.ask(process, &request).await;
        self.cluster.set_traffic(process, Traffic::Flows);
        self.note(process, &request, answer.as_ref());
        self.knows(process, false).await;
    }

    async fn caller_leaves(&mut self, process: usize) {
        let request = self.request();
        let patience = Duration::from_micros(self.random.below(6000));
        let answer = tokio::time::timeout(patience, self.ask(process, &request)).await.ok().flatten();
        self.note(process, &request, answer.as_ref());
        if answer.is_none() {
            tokio::time::sleep(AFTERLIFE).await;
        }
        self.knows(process, false).await;
    }

    async fn connections_break(&mut self, process: usize) {
        if let Some(road) = self.cluster.road(process) {
            road.reset();
        }
        self.change_in(process, false).await;
    }

    async fn killed(&mut self, process: usize) {
        let request = self.request();
        let patience = Duration::from_micros(self.random.below(8000));
        let answer = tokio::time::timeout(patience, self.ask(process, &request)).await.ok().flatten();
        self.cluster.kill(process);
        self.note(process, &request, answer.as_ref());
        tokio::time::sleep(AFTERLIFE).await;
        self.cluster.start(process).await;
        // It has read everything at its start.
        self.truth.holds_at_once(&self.cluster[process], process, true).await;
        self.behind[process] = false;
    }

    /// Some changes in other processes than this one, which may be in their way.
    async fn changes_elsewhere(&mut self, process: usize) {
        for _ in 0..=self.random.below(5) {
            let other = (process + 1 + self.random.place(self.cluster.len() - 1)) % self.cluster.len();
            self.change_in(other, false).await;
        }
    }

    async fn suspended(&mut self, process: usize) {
        self.cluster.pause(process);
        self.changes_elsewhere(process).await;
        tokio::time::sleep(Duration::from_millis(self.random.below(3000))).await;
        self.cluster.resume(process);
        let since = Instant::now();
        self.is_not_too_late(process).await;
        self.agrees(process, since).await;
    }

    async fn is_not_too_late(&self, process: usize) {
        let late = Duration::from_secs(STALE_SECONDS) + SLACK;
        self.truth.holds_of_late(&self.cluster[process], process, late).await;
    }

    /// Cut off from the database, it answers from memory for a while and then not at all.
    async fn cut_off(&mut self, process: usize) {
        let traffic = [Traffic::Stops, Traffic::Swallows][self.random.place(2)];
        self.truth.tell(format!("process {process}: {traffic:?}"));
        self.cluster.set_traffic(process, traffic);
        let since = Instant::now();
        self.changes_elsewhere(process).await;
        let length = Duration::from_millis(self.random.below(1000 * (STALE_SECONDS + 2)));
        while since.elapsed() < length {
            self.is_not_too_late(process).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.cluster.set_traffic(process, Traffic::Flows);
        let since = Instant::now();
        self.agrees(process, since).await;
    }
}
