//! Spending credits: what parallel verifications, changes of balances and several processes add up to.

use futures_util::future::join_all;
use keyrack_core::error::Code;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::keys::{CreateKey, DeleteKey, GetKey, UpdateCredits, UpdateKey, VerifyKey};
use keyrack_core::retention::Retention;
use keyrack_core::store::Engine;
use keyrack_core::{Error, Keyrack};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tokio::runtime::Handle;

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    what_is_spent_in_groups_is_what_would_be_spent_one_after_the_other,
    processes_that_spend_and_add_together_agree_on_the_balance,
    what_was_accepted_before_the_close_is_made_and_nothing_after_it,
    a_balance_that_another_process_raised_is_spent_within_a_second,
    a_lock_that_another_process_keeps_refuses_payments_and_nothing_else,
    a_key_that_became_unlimited_or_went_away_elsewhere_is_not_charged,
);

/// A key with a balance.
#[derive(Debug, Clone)]
struct Account {
    id: String,
    text: String,
}

async fn account(instance: &Instance, credits: i64) -> Account {
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let body = json!({ "apiId": api["apiId"], "credits": { "remaining": credits } });
    let key = instance.run::<CreateKey>(body).await.unwrap();
    Account { id: key["keyId"].as_str().unwrap().to_owned(), text: key["key"].as_str().unwrap().to_owned() }
}

async fn stored(instance: &Instance, account: &Account) -> i64 {
    let key = instance.run::<GetKey>(json!({ "keyId": account.id })).await.unwrap();
    key["credits"]["remaining"].as_i64().unwrap()
}

/// What a verification says: the code, and the balance it shows.
async fn pay(instance: &Instance, account: &Account, cost: i64) -> Result<(String, Option<i64>), Error> {
    let body = json!({ "key": account.text, "credits": { "cost": cost } });
    let answer = instance.run::<VerifyKey>(body).await?;
    Ok((answer["code"].as_str().unwrap().to_owned(), answer["credits"].as_i64()))
}

async fn change(instance: &Instance, account: &Account, operation: &str, value: i64) {
    let body = json!({ "keyId": account.id, "operation": operation, "value": value });
    instance.run::<UpdateCredits>(body).await.unwrap();
}

/// Checks that verifications which ran together could have run one after the other, starting from `balance`:
/// the balance after them.
fn in_some_order(balance: i64, answers: &[(i64, String, i64)]) -> Result<i64, TestCaseError> {
    let mut balances = vec![balance];
    let mut made: Vec<(i64, i64)> = Vec::new();
    for (cost, code, left) in answers {
        if code == "VALID" && *cost > 0 {
            made.push((*left, *cost));
        }
    }
    made.sort_unstable_by(|one, other| other.cmp(one));
    for (left, cost) in made {
        let before = balances[balances.len() - 1];
        prop_assert_eq!(left, before - cost, "a balance is shown twice or missing: {:?}", answers);
        balances.push(left);
    }
    for (cost, code, shown) in answers {
        prop_assert!(*shown >= 0 && balances.contains(shown), "{} was never the balance: {:?}", shown, answers);
        let due = if *cost == 0 { "VALID" } else { code };
        prop_assert_eq!(code, due);
        if code != "VALID" {
            prop_assert_eq!(code, "USAGE_EXCEEDED");
            prop_assert!(shown < cost, "{} of {} were refused: {:?}", cost, shown, answers);
        }
    }
    Ok(balances[balances.len() - 1])
}

/// What happens next to the accounts of a case.
#[derive(Debug, Clone)]
enum Step {
    /// Verifications at once: the account and the cost of each.
    Together(Vec<(usize, i64)>),
    /// A change of a balance.
    Change(usize, &'static str, i64),
}

fn steps() -> impl Strategy<Value = (Vec<i64>, Vec<Step>)> {
    let account = 0..3_usize;
    let cost = prop_oneof![4 => 1..4_i64, 1 => Just(0), 1 => 4..30_i64];
    let together = prop::collection::vec((account.clone(), cost), 1..40).prop_map(Step::Together);
    let operation = prop_oneof![Just("increment"), Just("decrement"), Just("set")];
    let change =
        (account, operation, 0..25_i64).prop_map(|(account, what, value)| Step::Change(account, what, value));
    let step = prop_oneof![2 => together, 1 => change];
    (prop::collection::vec(0..60_i64, 3), prop::collection::vec(step, 1..7))
}

async fn run_steps(instance: &Instance, starts: &[i64], steps: &[Step]) -> Result<(), TestCaseError> {
    let accounts = join_all(starts.iter().map(|start| account(instance, *start))).await;
    let mut balances = starts.to_vec();
    for step in steps {
        match step {
            Step::Together(payments) => {
                let answers =
                    join_all(payments.iter().map(|(at, cost)| pay(instance, &accounts[*at], *cost))).await;
                for (at, balance) in balances.iter_mut().enumerate() {
                    let of_this = payments.iter().zip(&answers).filter(|((account, _), _)| *account == at);
                    let of_this: Vec<(i64, String, i64)> = of_this
                        .map(|((_, cost), answer)| {
                            let (code, shown) = answer.as_ref().unwrap();
                            (*cost, code.clone(), shown.unwrap())
                        })
                        .collect();
                    *balance = in_some_order(*balance, &of_this)?;
                }
            }
            Step::Change(at, operation, value) => {
                change(instance, &accounts[*at], operation, *value).await;
                balances[*at] = match *operation {
                    "increment" => balances[*at] + value,
                    "decrement" => (balances[*at] - value).max(0),
                    _ => *value,
                };
            }
        }
        for (account, balance) in accounts.iter().zip(&balances) {
            prop_assert_eq!(stored(instance, account).await, *balance);
        }
    }
    Ok(())
}

async fn what_is_spent_in_groups_is_what_would_be_spent_one_after_the_other(database: Database) {
    let instance = database.set_up().await;
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&steps(), |(starts, steps)| {
        let case = run_steps(&instance, &starts, &steps);
        tokio::task::block_in_place(|| Handle::current().block_on(case))
    });
    outcome.unwrap();
}

async fn processes_that_spend_and_add_together_agree_on_the_balance(database: Database) {
    let one = database.set_up().await;
    let accounts = [account(&one, 40).await, account(&one, 7).await];
    let others = [one.other_process(&database).await, one.other_process(&database).await];
    let mut tasks = Vec::new();
    for n in 0..180_usize {
        let process = [&one, &others[0], &others[1]][n % 3].clone();
        let (account, cost) = (accounts[n % 2].clone(), 1 + i64::try_from(n).unwrap() % 4);
        tasks.push(tokio::spawn(async move {
            if n % 9 == 0 {
                change(&process, &account, "increment", cost).await;
                return (n % 2, cost, String::new());
            }
            (n % 2, cost, pay(&process, &account, cost).await.unwrap().0)
        }));
    }
    let mut due = [40, 7];
    for task in tasks {
        let (at, cost, code) = task.await.unwrap();
        match code.as_str() {
            "" => due[at] += cost,
            "VALID" => due[at] -= cost,
            other => assert_eq!(other, "USAGE_EXCEEDED"),
        }
    }
    for (account, due) in accounts.iter().zip(due) {
        assert!(due >= 0);
        assert_eq!(stored(&one, account).await, due);
    }
}

async fn what_was_accepted_before_the_close_is_made_and_nothing_after_it(database: Database) {
    let instance = database.set_up().await;
    let account = account(&instance, 1000).await;
    pay(&instance, &account, 1).await.unwrap();
    let payments = (0..60).map(|n| {
        let (instance, account) = (instance.clone(), account.clone());
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_micros(n * 50)).await;
            pay(&instance, &account, 1).await
        })
    });
    let payments: Vec<_> = payments.collect();
    tokio::time::sleep(std::time::Duration::from_micros(1500)).await;
    instance.keyrack.close().await;
    let mut spent = 1;
    for payment in payments {
        match payment.await.unwrap() {
            Ok((code, _)) => {
                assert_eq!(code, "VALID");
                spent += 1;
            }
            Err(error) => assert_eq!(error.code(), Code::ServiceUnavailable, "{error}"),
        }
    }
    let again = instance.other_process(&database).await;
    assert_eq!(stored(&again, &account).await, 1000 - spent);
}

async fn a_balance_that_another_process_raised_is_spent_within_a_second(database: Database) {
    let one = database.set_up().await;
    one.keyrack.start_background_work(Retention::default());
    let account = account(&one, 0).await;
    for _ in 0..3 {
        assert_eq!(pay(&one, &account, 5).await.unwrap(), ("USAGE_EXCEEDED".to_owned(), Some(0)));
    }
    let other = one.other_process(&database).await;
    change(&other, &account, "increment", 5).await;
    let started = std::time::Instant::now();
    while pay(&one, &account, 5).await.unwrap().0 != "VALID" {
        assert!(started.elapsed().as_millis() < 1100, "it is still refused");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(stored(&other, &account).await, 0);
}

/// Keeps others from writing balances, as another process that does something long.
async fn hold_lock(keyrack: &Keyrack) -> keyrack_core::store::Transaction {
    let mut transaction = keyrack.store().write().await.unwrap();
    if keyrack.store().engine() == Engine::Postgres {
        sqlx::query("LOCK TABLE credits IN EXCLUSIVE MODE").execute(&mut *transaction).await.unwrap();
    }
    transaction
}

async fn a_lock_that_another_process_keeps_refuses_payments_and_nothing_else(database: Database) {
    let instance = database.set_up().await;
    let (rich, poor) = (account(&instance, 9).await, account(&instance, 0).await);
    assert_eq!(pay(&instance, &poor, 1).await.unwrap().0, "USAGE_EXCEEDED");
    let other = instance.other_process(&database).await;
    let held = hold_lock(&other.keyrack).await;
    let (refused, also) = tokio::join!(pay(&instance, &rich, 1), pay(&instance, &rich, 2));
    for refused in [refused, also] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::ServiceUnavailable);
        assert!(refused.detail().contains("nothing was changed"), "{refused}");
        assert_eq!(refused.retry_after_seconds(), Some(1));
    }
    assert_eq!(pay(&instance, &rich, 0).await.unwrap(), ("VALID".to_owned(), Some(9)));
    assert_eq!(pay(&instance, &poor, 1).await.unwrap(), ("USAGE_EXCEEDED".to_owned(), Some(0)));
    drop(held);
    assert_eq!(pay(&instance, &rich, 4).await.unwrap(), ("VALID".to_owned(), Some(5)));
}

async fn a_key_that_became_unlimited_or_went_away_elsewhere_is_not_charged(database: Database) {
    let one = database.set_up().await;
    let (freed, gone) = (account(&one, 1).await, account(&one, 1).await);
    let other = one.other_process(&database).await;
    let unlimited = json!({ "keyId": freed.id, "credits": null });
    other.run::<UpdateKey>(unlimited).await.unwrap();
    other.run::<DeleteKey>(json!({ "keyId": gone.id, "permanent": true })).await.unwrap();
    // The first process follows nobody's changes: it still takes both for keys with a balance.
    assert_eq!(pay(&one, &freed, 50).await.unwrap(), ("VALID".to_owned(), None));
    assert_eq!(pay(&one, &gone, 1).await.unwrap(), ("NOT_FOUND".to_owned(), None));
}

/// A number that changes with every commit of another connection.
async fn data_version(connection: &mut keyrack_core::store::Connection) -> i64 {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_writes_nothing() {
    let database = Database::sqlite();
    let instance = database.set_up().await;
    let account = account(&instance, 4).await;
    pay(&instance, &account, 1).await.unwrap();
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let before = data_version(&mut connection).await;
    for cost in [4, 1000, 4] {
        assert_eq!(pay(&instance, &account, cost).await.unwrap(), ("USAGE_EXCEEDED".to_owned(), Some(3)));
    }
    assert_eq!(data_version(&mut connection).await, before);
    pay(&instance, &account, 3).await.unwrap();
    assert_ne!(data_version(&mut connection).await, before, "a payment does");
}
