//! Opening, the first start, and root keys made without a caller.

use keyrack_core::caller::{Origin, Via};
use keyrack_core::error::{Code, Error};
use keyrack_core::keys::secret::{self, Secret};
use keyrack_core::operations::workspace::GetOverview;
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::setup;
use keyrack_core::store::{Only, root_keys};
use serde_json::json;

use crate::{Database, on_both_engines};

on_both_engines!(
    of_processes_that_start_together_one_sets_up,
    a_root_key_that_cannot_be_kept_sets_nothing_up,
    a_first_start_with_a_bootstrap_key_makes_no_other,
    a_root_key_made_offline_works_with_the_permissions_it_was_given,
    the_bootstrap_key_follows_its_setting_and_is_never_revived,
);

async fn of_processes_that_start_together_one_sets_up(database: Database) {
    let starts = (0..4).map(|_| {
        let database = database.clone();
        tokio::spawn(async move { setup::first_start(&database.open().await, None, |_| Ok(())).await.unwrap() })
    });
    let mut first_starts = 0;
    for start in starts.collect::<Vec<_>>() {
        first_starts += usize::from(start.await.unwrap());
    }
    assert_eq!(first_starts, 1);
}

async fn a_root_key_that_cannot_be_kept_sets_nothing_up(database: Database) {
    let keyrack = database.open().await;
    let keep = |_: &Secret| Err(Error::new(Code::ServiceUnavailable, "the disk is full"));
    assert!(setup::first_start(&keyrack, None, keep).await.is_err());
    assert!(setup::default_workspace(&keyrack).await.is_err());
    assert!(setup::first_start(&keyrack, None, |_| Ok(())).await.unwrap(), "the next start sets up");
}

async fn a_first_start_with_a_bootstrap_key_makes_no_other(database: Database) {
    let keyrack = database.open().await;
    let secret = |text: String| Secret::from_string(text);
    let keep = |_: &Secret| -> Result<(), Error> { panic!("there is nothing to keep") };
    assert!(setup::first_start(&keyrack, Some(&secret("x".repeat(31))), keep).await.is_err());
    assert!(setup::default_workspace(&keyrack).await.is_err(), "nothing was set up");
    let bootstrap = secret("b".repeat(32));
    assert!(setup::first_start(&keyrack, Some(&bootstrap), keep).await.unwrap());
    setup::ensure_bootstrap_key(&keyrack, &bootstrap).await.unwrap();
    assert!(!setup::first_start(&keyrack, Some(&bootstrap), keep).await.unwrap());
    let caller = keyrack.authenticate(bootstrap.expose(), Origin::local(Via::Http)).unwrap();
    assert!(caller.root_key().operator && caller.root_key().permissions == ["*"]);
    let mut connection = keyrack.store().read().await.unwrap();
    let live = root_keys::live(&mut connection, Only::All).await.unwrap();
    assert_eq!(live.iter().map(|key| key.bootstrap).collect::<Vec<_>>(), [true]);
}

async fn a_root_key_made_offline_works_with_the_permissions_it_was_given(database: Database) {
    let instance = database.set_up().await;
    let new = NewRootKey {
        name: Some("reader".to_owned()),
        permissions: vec!["api.*.read_api".to_owned()],
        operator: false,
        expires_at: None,
    };
    let (_, secret) = setup::create_root_key(&instance.keyrack, &instance.workspace_id, new).await.unwrap();
    assert!(secret::root_key_checksum_is_right(secret.expose()));
    let caller = instance.keyrack.authenticate(secret.expose(), Origin::local(Via::Http)).unwrap();
    assert_eq!(caller.root_key().permissions, ["api.*.read_api"]);
    assert!(!caller.root_key().operator);
    let overview = instance.run::<GetOverview>(json!({})).await.unwrap();
    assert_eq!(overview["rootKey"]["operator"], true, "the first root key is an operator's");
}

async fn the_bootstrap_key_follows_its_setting_and_is_never_revived(database: Database) {
    let instance = database.set_up().await;
    let keyrack = &instance.keyrack;
    let works = |text: &str| keyrack.authenticate(text, Origin::local(Via::Http)).is_ok();
    let secret = |text: &str| Secret::from_string(text.to_owned());
    let (first, second) = ("f".repeat(32), "s".repeat(32));

    assert!(setup::ensure_bootstrap_key(keyrack, &secret(&"x".repeat(31))).await.is_err());
    setup::ensure_bootstrap_key(keyrack, &secret(&first)).await.unwrap();
    assert!(works(&first));
    setup::ensure_bootstrap_key(keyrack, &secret(&second)).await.unwrap();
    assert!(!works(&first) && works(&second), "a changed value retires the previous key");
    setup::ensure_bootstrap_key(keyrack, &secret(&first)).await.unwrap();
    assert!(!works(&first), "a retired key stays retired");
    assert!(!works(&second), "and the setting does not name the other any more");
    let taken = setup::ensure_bootstrap_key(keyrack, &secret(&instance.root_key)).await.unwrap_err();
    assert!(taken.detail().contains("has the value of root key"), "{taken}");
    assert!(!taken.to_string().contains(&instance.root_key));
}
