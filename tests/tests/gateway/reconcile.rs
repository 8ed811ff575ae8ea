//! What clients, providers, spans and the ledger say of the same requests; `cargo xtask bench telemetry` does it with
//! fifty thousand.

use weir_tests::reconcile::{Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_ledger_and_the_providers_books_agree_while_a_fifth_of_the_clients_leave() {
    let plan = Plan { requests: 1_500, aborted_percent: 20, clients: 24, workers: 2, seed: 1 };
    let verdict = run(plan).await.unwrap_or_else(|error| panic!("{error}"));
    println!("{}", verdict.table());
    assert_eq!(verdict.problems(), [] as [String; 0], "{}", verdict.table());
    let [answered, refused, left, _] = verdict.clients;
    assert!(answered > 1_000 && refused > 5 && left > 100, "{:?}", verdict.clients);
    assert!(verdict.leaves.estimated > 20, "{}", verdict.table());
}
