//! Changes under load, each seen by its effect on refusals.

use std::time::{Duration, Instant};

use crate::setup::{Load, Setup, chat};

const CHANGES: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_are_live_within_a_second_and_fail_no_request() {
    let setup = Setup::start("changes", "1.40.0", true).await;
    let plain = Load::start(&setup, 2, false);
    let streams = Load::start(&setup, 2, true);
    let mut took = Vec::new();
    for number in 1..=CHANGES {
        let (old, new) =
            (setup.client(&format!("key-{}", number - 1)), setup.client(&format!("key-{number}")));
        let begin = Instant::now();
        setup.set_policy(number);
        loop {
            let asked = Instant::now();
            // The old key first: once it is refused, no worker may still take it and none refuse the new one.
            let (old, new) = (old.chat(chat()).await.status, new.chat(chat()).await.status);
            if (old, new) == (401, 200) {
                took.push(asked.duration_since(begin));
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "change {number}: {old} {new}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let (plain, streams) = (plain.end().await, streams.end().await);
    took.sort();
    let at = |part: usize| took[took.len() * part / 100];
    println!(
        "{CHANGES} changes beside {plain} requests and {streams} streams: live after {:?} p50, {:?} p99, {:?} at most",
        at(50),
        at(99),
        took[took.len() - 1]
    );
    assert!(at(99) <= Duration::from_secs(1), "p99 {:?}", at(99));
    assert!(plain > 500 && streams > 500, "too little load: {plain} and {streams}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_comes_and_goes_without_a_failed_request() {
    let setup = Setup::start("provider", "1.40.0", true).await;
    let load = Load::start(&setup, 4, false);
    let other = weir_tests::sim::vllm::start(Default::default()).await.expect("a free port");
    for round in 0..4 {
        // The other provider is the only one from the very moment that the policy names it.
        let text = setup
            .policy(round)
            .replace("gpu-pool", "other")
            .replace(&format!("127.0.0.1:{}]", setup.vllm.port()), &format!("127.0.0.1:{}]", other.port()));
        setup.write(&text);
        until_served_by(&setup, "weir-other").await;
        setup.set_policy(round);
        until_served_by(&setup, "weir-gpu-pool").await;
    }
    let count = load.end().await;
    assert!(count > 100, "too little load: {count}");
    assert!(other.book().totals().requests > 0);
}

async fn until_served_by(setup: &Setup, cluster: &str) {
    let stat = format!("cluster.{cluster}.upstream_rq_200");
    let deadline = Instant::now() + Duration::from_secs(20);
    let before = setup.envoy.stat(&stat).await;
    while setup.envoy.stat(&stat).await < before + 20 {
        assert!(Instant::now() < deadline, "{cluster} is not used: {:#}", setup.status().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_goes_on_without_its_control_plane_and_is_back_within_two_seconds() {
    let mut setup = Setup::start("stopped", "1.40.0", true).await;
    let load = Load::start(&setup, 2, false);
    setup.kill_control();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(setup.client("key-0").chat(chat()).await.status, 200);
    setup.set_policy(1);
    setup.start_control();
    let begin = Instant::now();
    while setup.client("key-1").chat(chat()).await.status != 200 {
        assert!(begin.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begin.elapsed();
    println!("live {took:?} after the control plane was started again, beside {} requests", load.end().await);
    assert!(took < Duration::from_secs(2), "{took:?}");
}
