//! The fuzz harness on kept inputs, on mutations of them, and on random bytes. The same every time.

#[path = "../fuzz/harness.rs"]
mod harness;
#[path = "support/packets.rs"]
mod packets;

use std::path::Path;

use proptest::prelude::*;
use proto_mqtt::Version;

/// The inputs kept for a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let entries = std::fs::read_dir(&directory).expect("seeds are part of the repository");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {}", directory.display());
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Every seed, cut off anywhere, and with any byte changed in a few ways.
fn run_with_mutations(target: &str, run: fn(&[u8])) {
    for seed in seeds(target) {
        (0..=seed.len()).for_each(|end| run(&seed[..end]));
        for at in 0..seed.len() {
            for change in [0x01, 0x80, 0xFF, seed[at]] {
                let mut mutated = seed.clone();
                mutated[at] ^= change;
                run(&mutated);
            }
        }
    }
}

#[test]
fn the_decoder_survives_its_seeds_and_their_mutations() {
    run_with_mutations("decode", harness::decode_any);
}

#[test]
fn the_session_survives_its_seeds_and_their_mutations() {
    run_with_mutations("session", harness::session_any);
}

/// Session operations that hold whole packets, so that random sequences get past CONNECT.
fn operation() -> impl Strategy<Value = Vec<u8>> {
    let version = Version::V5;
    let client = |packet: Vec<u8>| [&[packet.len() as u8][..], &packet].concat();
    let id = 1..4_u16;
    prop_oneof![
        Just(vec![100]),
        Just(vec![100]),
        Just(vec![101]),
        (150..250_u8).prop_map(|operation| vec![operation]),
        (0..3_u8, id.clone(), any::<bool>()).prop_map(move |(qos, id, retain)| client(
            packets::publish_with(version, "a/b", "x", qos, id, &[], retain)
        )),
        (id.clone(), 0..64_u8).prop_map(move |(id, options)| client(packets::subscribe(
            version,
            id,
            &[("a/b", options), ("#", 1)]
        ))),
        id.clone()
            .prop_map(move |id| client(packets::unsubscribe(version, id, &["a/b"]))),
        id.clone().prop_map(move |id| client(packets::puback(id))),
        id.clone().prop_map(move |id| client(packets::pubrec(id))),
        id.clone().prop_map(move |id| client(packets::pubrel(id))),
        id.prop_map(move |id| client(packets::pubcomp(id))),
        Just(client(packets::pingreq())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        harness::decode_any(&data);
        harness::session_any(&data);
    }

    #[test]
    fn random_sequences_of_packets_and_events_keep_the_protocol(
        operations in prop::collection::vec(operation(), 0..60),
    ) {
        let connect = packets::Connect::new(Version::V5).encode();
        let start = [&[connect.len() as u8][..], &connect, &[100]].concat();
        harness::session_any(&[start, operations.concat()].concat());
    }
}
