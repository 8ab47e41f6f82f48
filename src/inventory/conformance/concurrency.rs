//! What has to hold when many come at once.

use tokio::task::JoinSet;

use super::*;
use crate::inventory::audit::verify_chain;

const MANY: u32 = 64;

/// Runs them all at once, and gives what they gave.
async fn at_once<T, F>(store: &Store, run: impl Fn(Store, u32) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..MANY {
        tasks.spawn(run(std::sync::Arc::clone(store), number));
    }
    tasks.join_all().await
}

pub(crate) async fn one_of_many_redeems_a_challenge(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let results = at_once(&store, |store, number| async move {
        let new = NewTransaction { redeem: Some(challenge(1).digest), ..new(number) };
        (new.transaction.id, store.open(new).await.expect("opens"))
    });
    let results = results.await;
    let winners: Vec<_> = results.iter().filter(|(_, opened)| *opened == Opened::Created).collect();
    let [(winner, _)] = winners[..] else { panic!("{} redeemed it", winners.len()) };
    assert!(results.iter().filter(|(id, _)| id != winner).all(|(_, opened)| *opened == Opened::ChallengeSpent));
    let spent = store.challenge(&challenge(1).digest).await.expect("reads").expect("it is there");
    assert_eq!(spent.redeemed_by, Some(*winner));
}

pub(crate) async fn one_of_many_opens_a_transaction(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let results = at_once(&store, |store, number| async move {
        let mut new = NewTransaction { redeem: Some(challenge(1).digest), ..new(1) };
        // Half of them say the same, the others join under names of their own.
        if number % 2 == 0 {
            new.transaction.key.wire_id = format!("wire-{number}");
        }
        store.open(new).await.expect("opens")
    });
    let mut existing: Vec<_> = Vec::new();
    let mut created = 0;
    for opened in results.await {
        match opened {
            Opened::Created => created += 1,
            Opened::Existing(transaction) => existing.push(transaction.id),
            other => panic!("{other:?}"),
        }
    }
    existing.dedup();
    assert_eq!((created, existing.len()), (1, 1));
    assert_eq!(events(&store).await, ["request.ordered"]);
}

pub(crate) async fn a_limit_holds_under_concurrency(store: Store) {
    let results = at_once(&store, |store, number| async move {
        let limit = DeviceLimit { group: "routers".to_owned(), device: "S1".to_owned(), since: at(-60), count: 3 };
        store.open(NewTransaction { limit: Some(limit), ..new(number) }).await.expect("opens")
    });
    let created = results.await.into_iter().filter(|opened| *opened == Opened::Created).count();
    assert_eq!(created, 3);
}

pub(crate) async fn one_of_many_concludes(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let results = at_once(&store, |store, number| {
        let conclusion = issued(&new, certificate(number, new.transaction.id));
        async move { store.conclude(conclusion).await.expect("concludes") }
    });
    let results = results.await;
    assert_eq!(results.iter().filter(|concluded| **concluded == Concluded::Done).count(), 1);
    let last = stored(&store, new.transaction.id).await;
    assert!(results.iter().all(|concluded| match concluded {
        Concluded::Done => true,
        Concluded::AlreadyFinal(transaction) => *transaction == last,
        Concluded::Lost(_) => false,
    }));
    assert_eq!(store.statistics().await.expect("counts").certificates, 1);
}

pub(crate) async fn work_is_never_claimed_twice(store: Store) {
    for device in 0..MANY {
        let mut new = new(device);
        new.attempt.as_mut().expect("attempt").held_until = None;
        opened(&store, &new).await;
    }
    let results = at_once(&store, |store, number| async move {
        let work = store.claim(&format!("node-{number}"), at(1), at(61), 3, &BTreeMap::new()).await.expect("claims");
        work.into_iter().map(|(transaction, _)| transaction.id).collect::<Vec<_>>()
    });
    let mut claimed = results.await.concat();
    claimed.sort();
    let count = claimed.len();
    claimed.dedup();
    assert_eq!((claimed.len(), count), (MANY as usize, MANY as usize));
}

pub(crate) async fn the_chain_holds_under_concurrency(store: Store) {
    at_once(&store, |store, number| async move {
        enrolled(&store, number, |id| certificate(number, id)).await;
        // One that fails in the middle of a batch must not tear a hole.
        store
            .conclude(Conclusion { attempt: AttemptId::new(), ..issued(&new(number), certificate(number, TransactionId::new())) })
            .await
            .expect_err("there is no such transaction");
    })
    .await;
    assert_eq!(verify_chain(&*store).await.expect("reads").expect("it holds").verified(), u64::from(MANY) * 2);
    assert_eq!(store.statistics().await.expect("counts").certificates, u64::from(MANY));
}
