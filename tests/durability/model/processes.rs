//! What the processes show, compared with what the model holds to be possible.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use keyrack_test_harness::{Answer, Client};
use serde_json::{Value, json};

use super::requests::Request;
use super::world::{ASKED_LIMIT, Kind, LASTING_NAMESPACE, NAMESPACE, Thing, World, shown_of_key};

/// How long another process may show what was before a change (R16).
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
/// How many of the last events a failure tells.
const TOLD: usize = 40;

/// The worlds that are possible after what was answered, and those that were.
#[derive(Debug)]
pub(super) struct Truth {
    /// Several after a change of which nobody knows whether it was done.
    pub(super) worlds: Vec<World>,
    /// Until when which worlds were possible, the oldest first.
    former: VecDeque<(Instant, Vec<World>)>,
    /// When the last change was answered.
    pub(super) changed: Instant,
    told: VecDeque<String>,
    /// What a failure begins with: how to have the same again.
    about: String,
}

/// What a process shows; nothing of a thing about which it does not answer.
pub(super) type Shown = BTreeMap<Thing, Option<Value>>;

impl Truth {
    pub(super) fn new(about: String) -> Self {
        Truth {
            worlds: vec![World::default()],
            former: VecDeque::new(),
            changed: Instant::now(),
            told: VecDeque::new(),
            about,
        }
    }

    pub(super) fn tell(&mut self, line: String) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back(line);
    }

    /// Ends the test.
    pub(super) fn fail(&self, fault: &str) -> ! {
        let told: Vec<&str> = self.told.iter().map(String::as_str).collect();
        panic!("{}: {fault}\nthe last events:\n{}", self.about, told.join("\n"));
    }

    /// The world that random changes are made for.
    pub(super) fn likely(&self) -> &World {
        &self.worlds[0]
    }

    fn replace(&mut self, mut worlds: Vec<World>) {
        if let [world] = worlds.as_mut_slice() {
            world.forget();
        }
        let former = std::mem::replace(&mut self.worlds, worlds);
        self.changed = Instant::now();
        self.former.push_back((self.changed, former));
        let is_old = |(until, _): &(Instant, Vec<World>)| until.elapsed() > Duration::from_secs(20);
        while self.former.front().is_some_and(is_old) {
            self.former.pop_front();
        }
    }

    /// Takes note of an acknowledged change: whether it changed anything. What changes nothing is not committed, and
    /// brings its process up to date with nobody.
    pub(super) fn done(&mut self, request: &Request, answer: &Answer) -> bool {
        let made = answer.body.get("data").unwrap_or(&Value::Null);
        let (mut worlds, mut refusal, mut is_changed) = (Vec::new(), 0, false);
        for world in &self.worlds {
            let mut after = world.clone();
            match after.apply(request, Some(made)) {
                Ok(()) => {
                    is_changed |= after != *world;
                    worlds.push(after);
                }
                Err(status) => refusal = status,
            }
        }
        if worlds.is_empty() {
            self.fail(&format!(
                "{} is acknowledged where it is due to be refused with {refusal}",
                request.operation
            ));
        }
        if is_changed {
            self.replace(worlds);
        } else {
            self.worlds = worlds;
        }
        is_changed
    }

    /// Takes note of a refused change. A process that need not know the latest yet may refuse for that.
    pub(super) fn refused(&mut self, request: &Request, answer: &Answer, is_behind: bool) {
        let is_due = |world: &World| match world.clone().apply(request, None) {
            // Whoever may not change a thing may not learn either that it is there.
            Err(403) => [401, 403, 404].contains(&answer.status),
            Err(status) => status == answer.status,
            Ok(()) => false,
        };
        let worlds: Vec<World> = self.worlds.iter().filter(|world| is_due(world)).cloned().collect();
        if is_behind {
            return;
        }
        self.worlds = worlds;
        if self.worlds.is_empty() {
            self.fail(&format!("{} is refused: {} {}", request.operation, answer.status, answer.text));
        }
    }

    /// Takes note of a change that was done or not.
    pub(super) fn unknown(&mut self, request: &Request) {
        let mut worlds = self.worlds.clone();
        for world in &self.worlds {
            let mut other = world.clone();
            if other.apply(request, None).is_ok() && !worlds.contains(&other) {
                worlds.push(other);
            }
        }
        self.replace(worlds);
    }

    /// The worlds in which a process shows this.
    fn worlds_of(&self, shown: &Shown) -> Vec<World> {
        let fits = |world: &&World| {
            shown.iter().all(|(thing, seen)| seen.as_ref().is_none_or(|seen| *seen == world.view(thing)))
        };
        self.worlds.iter().filter(fits).cloned().collect()
    }

    /// What a process shows that no possible world has.
    fn difference(&self, shown: &Shown) -> String {
        let world = self.likely();
        let differs = |(thing, seen): (&Thing, &Option<Value>)| {
            let (due, seen) = (world.view(thing), seen.clone()?);
            (seen != due).then(|| format!("{thing} is {seen}, not {due}"))
        };
        let differences: Vec<String> = shown.iter().filter_map(differs).collect();
        format!("{} of {} possible worlds: {}", differences.len(), self.worlds.len(), differences.join("\n"))
    }

    /// The process that answered knows what it answered: everything is as the model has it. Unless it is `well`, it
    /// may refuse to answer for a while.
    pub(super) async fn holds_at_once(&mut self, client: &Client, process: usize, well: bool) {
        let started = Instant::now();
        loop {
            let shown = show(client, self.likely()).await;
            let worlds = self.worlds_of(&shown);
            if worlds.is_empty() {
                self.fail(&format!("process {process} does not know its own answer: {}", self.difference(&shown)));
            }
            if shown.values().all(Option::is_some) {
                self.worlds = worlds;
                return;
            }
            if well || started.elapsed() > PATIENCE {
                self.fail(&format!("process {process} does not answer after {:?}: {shown:?}", started.elapsed()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Within a second from `since` the process agrees, for every thing. Whether it is known now which world is true:
    /// of several, one that a process shows before that second is over may be one from before.
    pub(super) async fn holds_soon(&mut self, client: &Client, process: usize, since: Instant) -> bool {
        let mut patience = PATIENCE;
        loop {
            let asked = Instant::now();
            let shown = show(client, self.likely()).await;
            let worlds = self.worlds_of(&shown);
            let late = asked.saturating_duration_since(since);
            if !worlds.is_empty() && shown.values().all(Option::is_some) {
                if late > PATIENCE {
                    self.worlds = worlds;
                }
                return self.worlds.len() == 1;
            }
            if late > patience {
                let silent = shown.values().filter(|seen| seen.is_none()).count();
                let difference = self.difference(&shown);
                self.fail(&format!("process {process} is {late:?} late, {silent} answers missing; {difference}"));
            }
            tokio::time::sleep(PAUSE).await;
            // On a machine so busy that this test sleeps longer, the processes do too.
            patience += asked.elapsed().saturating_sub(PAUSE * 5);
        }
    }

    /// What the process shows was true at most so long ago.
    pub(super) async fn holds_of_late(&self, client: &Client, process: usize, late: Duration) {
        let asked = Instant::now();
        let shown = show(client, self.likely()).await;
        let is_young = |(until, worlds): &&(Instant, Vec<World>)| {
            asked.saturating_duration_since(*until) <= late && !worlds.is_empty()
        };
        let former = self.former.iter().filter(is_young).flat_map(|(_, worlds)| worlds);
        let worlds: Vec<&World> = former.chain(&self.worlds).collect();
        for (thing, seen) in shown {
            if let Some(seen) = seen.filter(|seen| worlds.iter().all(|world| world.view(&thing) != *seen)) {
                let due = self.likely().view(&thing);
                self.fail(&format!(
                    "process {process} shows of {thing} what was true long ago: {seen}, not {due}"
                ));
            }
        }
    }
}

/// What a process shows of all things of a world.
async fn show(client: &Client, world: &World) -> Shown {
    let seen = world.things().into_iter().map(async |thing| {
        let seen = look(client, world, &thing).await;
        (thing, seen)
    });
    join_all(seen).await.into_iter().collect()
}

async fn look(client: &Client, world: &World, thing: &Thing) -> Option<Value> {
    let limit = |namespace: &str, identifier: &str| json!({"namespace": namespace, "identifier": identifier, "limit": ASKED_LIMIT, "duration": 60_000, "cost": 0});
    let (client, operation, body) = match thing.kind {
        Kind::Key => {
            (client.clone(), "keys.verifyKey", json!({"key": world.secret(thing), "credits": {"cost": 0}}))
        }
        Kind::Override => (client.clone(), "ratelimit.limit", limit(NAMESPACE, &thing.id)),
        Kind::RootKey => {
            (client.with_key(world.secret(thing)), "ratelimit.limit", limit(LASTING_NAMESPACE, "nobody"))
        }
    };
    let answer = client.call_if_there(operation, body).await.filter(|answer| answer.status != 503)?;
    Some(match thing.kind {
        Kind::RootKey if answer.status != 200 => json!(answer.code()),
        Kind::RootKey => json!("OK"),
        Kind::Key => shown_of_key(answer.expect(200).data()),
        Kind::Override if answer.status == 410 => json!("gone"),
        Kind::Override => answer.expect(200).data()["limit"].clone(),
    })
}
