//! Contents of attributes of type `Blob`: in from a stream, out as a stream, and never missing after a kill.
#![allow(
    clippy::disallowed_methods,
    reason = "the process that is killed is told by its environment where to write"
)]

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use resource::{
    AttributeAccess, BLOB_DESCRIPTION, Blob, BlobStream, Catalog as _, Context, Error, Hub, Key,
    Map, Permissions, Query, Resource, Scope, SubscribeOptions, TableAccess, TakenBlob, Target,
    Value, Write, WriteKind,
};
use store::{Store, StoreConfig};
use support::{Fixture, internal, put, text, user, write};

const PHOTO: &str =
    "type Photo @table { id: ID @primaryKey, name: String, picture: Blob, note: Blob }";

fn content(bytes: &[u8]) -> BlobStream {
    let pieces: Vec<Result<Bytes, Error>> = bytes
        .chunks(1000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    Box::pin(stream::iter(pieces))
}

/// Bytes that differ from place to place.
fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

async fn upload(table: &Arc<dyn Resource>, bytes: &[u8]) -> TakenBlob {
    let context = internal();
    let taken = table.upload("picture", Some("image/png"), content(bytes), &context);
    taken.await.unwrap()
}

async fn keep(table: &Arc<dyn Resource>, key: &str, kind: WriteKind, taken: &TakenBlob) {
    store_value(table, key, kind, taken.value()).await.unwrap();
}

async fn store_value(
    table: &Arc<dyn Resource>,
    key: &str,
    kind: WriteKind,
    value: Value,
) -> Result<(), Error> {
    let body = Value::Map(Map::from_iter([("picture", value)]));
    let write = Write::new(Some(Key::from(key)), kind, Some(body));
    table.write(vec![write], &internal()).await.map(drop)
}

async fn open(table: &Arc<dyn Resource>, key: &str, attribute: &str) -> Option<Blob> {
    let target = Target::record(key);
    let context = internal();
    table.blob(&target, attribute, &context).await.unwrap()
}

async fn all(stream: BlobStream) -> Vec<u8> {
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    pieces.concat()
}

async fn read(table: &Arc<dyn Resource>, key: &str) -> Vec<u8> {
    all(open(table, key, "picture").await.unwrap().read()).await
}

/// The files of blobs below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

fn files_of(fixture: &Fixture) -> usize {
    files(&fixture.directory.path().join("blobs")).len()
}

#[tokio::test]
async fn s13_a_large_blob_is_one_file_until_its_record_is_deleted() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    let bytes = sample(10_000);
    let taken = upload(&photo, &bytes).await;
    assert_eq!(taken.size(), 10_000);
    keep(&photo, "1", WriteKind::Put, &taken).await;
    drop(taken);
    assert_eq!(files_of(&fixture), 1);
    let blob = open(&photo, "1", "picture").await.unwrap();
    assert_eq!(blob.media_type.as_deref(), Some("image/png"));
    assert_eq!(blob.size, 10_000);
    assert_eq!(all(blob.read()).await, bytes);
    assert_eq!(fixture.verify("data").await.blob_files, 1);
    let fixture = fixture.reopen();
    let photo = fixture.table(PHOTO).await;
    fixture.store.settle("data").await.unwrap();
    assert_eq!(read(&photo, "1").await, bytes);
    write(&photo, "1", WriteKind::Delete, "").await.unwrap();
    assert_eq!(files_of(&fixture), 0);
    assert!(open(&photo, "1", "picture").await.is_none());
    fixture.verify("data").await;
}

#[tokio::test]
async fn s13_below_8192_bytes_a_blob_needs_no_file() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    for (length, expected) in [(0, 0), (1, 0), (8_192, 0), (8_193, 1)] {
        let bytes = sample(length);
        let taken = upload(&photo, &bytes).await;
        keep(&photo, "1", WriteKind::Put, &taken).await;
        assert_eq!(read(&photo, "1").await, bytes);
        assert_eq!(files_of(&fixture), expected, "{length}");
    }
}

#[tokio::test]
async fn s13_any_range_of_a_blob_can_be_read() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    for length in [300_usize, 400_000] {
        let bytes = sample(length);
        let taken = upload(&photo, &bytes).await;
        keep(&photo, "1", WriteKind::Put, &taken).await;
        let end = length as u64;
        for range in [
            0..end,
            0..1,
            7..200,
            end - 1..end,
            5..5,
            9..u64::MAX,
            end..end + 9,
        ] {
            let blob = open(&photo, "1", "picture").await.unwrap();
            let cut = range.start.min(end) as usize..range.end.min(end) as usize;
            assert_eq!(
                all(blob.read_range(range.clone())).await,
                bytes[cut],
                "{range:?}"
            );
        }
    }
}

#[tokio::test]
async fn s3_3_json_shows_text_and_a_description_of_other_blobs() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    let body = r#"{"picture":{"type":"Buffer","data":[1,2,255]},"note":"a text"}"#;
    put(&photo, "1", body).await;
    let shown =
        format!(r#"{{"id":"1","picture":{{"description":"{BLOB_DESCRIPTION}"}},"note":"a text"}}"#);
    assert_eq!(text(&photo, "1").await, shown);
    assert_eq!(read(&photo, "1").await, [1, 2, 255]);
    let note = open(&photo, "1", "note").await.unwrap();
    assert_eq!(note.media_type.as_deref(), Some("text/plain"));
    assert_eq!((note.size, all(note.read()).await), (6, b"a text".to_vec()));
    // Streamed text is text, too.
    let context = internal();
    let html = content(b"<p>hi</p>");
    let taken = photo.upload("note", Some("text/html"), html, &context);
    let taken = taken.await.unwrap();
    let body = Value::Map(Map::from_iter([("note", taken.value())]));
    let patch = Write::new(Some(Key::from("1")), WriteKind::Patch, Some(body));
    photo.write(vec![patch], &context).await.unwrap();
    let record = support::get(&photo, "1").await.unwrap();
    assert_eq!(
        record.body.attribute("note"),
        Some(Value::from("<p>hi</p>"))
    );
    assert_eq!(
        read(&photo, "1").await,
        [1, 2, 255],
        "a patch keeps the others"
    );
}

#[tokio::test]
async fn s13_what_json_shows_can_be_written_back_and_keeps_the_content() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    let bytes = sample(9_000);
    keep(&photo, "1", WriteKind::Put, &upload(&photo, &bytes).await).await;
    let shown = text(&photo, "1").await;
    put(&photo, "1", &shown).await;
    assert_eq!(read(&photo, "1").await, bytes);
    let error = write(
        &photo,
        "2",
        WriteKind::Put,
        &shown.replace(r#""1""#, r#""2""#),
    )
    .await
    .unwrap_err();
    assert_eq!(error.status(), 400);
    assert!(
        error
            .message()
            .ends_with("in property picture must be a Blob")
    );
    put(&photo, "1", r#"{"picture":null}"#).await;
    assert!(open(&photo, "1", "picture").await.is_none());
    assert_eq!(files_of(&fixture), 0);
    fixture.verify("data").await;
}

#[tokio::test]
async fn s13_a_replaced_blob_is_removed_and_who_reads_it_reads_on() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    let (old, new) = (sample(500_000), sample(20_000));
    keep(&photo, "1", WriteKind::Put, &upload(&photo, &old).await).await;
    let reading = open(&photo, "1", "picture").await.unwrap();
    keep(&photo, "1", WriteKind::Patch, &upload(&photo, &new).await).await;
    assert_eq!(files_of(&fixture), 1);
    assert_eq!(all(reading.read()).await, old);
    assert_eq!(read(&photo, "1").await, new);
    fixture.verify("data").await;
}

#[tokio::test]
async fn s13_what_no_commit_used_is_removed() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    let bytes = sample(50_000);
    drop(upload(&photo, &bytes).await);
    assert_eq!(files_of(&fixture), 0, "given up");
    let taken = upload(&photo, &bytes).await;
    put(&photo, "1", "{}").await;
    store_value(&photo, "1", WriteKind::Create, taken.value())
        .await
        .unwrap_err();
    let value = taken.value();
    drop(taken);
    assert_eq!(files_of(&fixture), 0, "refused");
    let error = store_value(&photo, "1", WriteKind::Put, value)
        .await
        .unwrap_err();
    assert_eq!(error.status(), 400, "used too late");
    let broken = stream::iter([
        Ok(Bytes::from(vec![7; 300_000])),
        Err(Error::bad_request("gone")),
    ]);
    let context = internal();
    let error = photo.upload("picture", None, Box::pin(broken), &context);
    assert_eq!(error.await.unwrap_err().message(), "gone");
    assert_eq!(files_of(&fixture), 0, "broken off");
}

#[tokio::test]
async fn s13_a_blob_is_part_of_one_record_only() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    let taken = upload(&photo, &sample(9_000)).await;
    keep(&photo, "1", WriteKind::Put, &taken).await;
    for key in ["1", "2"] {
        let again = store_value(&photo, key, WriteKind::Put, taken.value()).await;
        assert_eq!(
            again.unwrap_err().message(),
            "A blob can be part of one record only"
        );
    }
    write(&photo, "1", WriteKind::Delete, "").await.unwrap();
    let again = store_value(&photo, "1", WriteKind::Put, taken.value()).await;
    assert_eq!(again.unwrap_err().status(), 400, "its file is gone");
    // Twice in one transaction.
    let taken = upload(&photo, &sample(9_000)).await;
    let body = || Some(Value::Map(Map::from_iter([("picture", taken.value())])));
    let writes = ["3", "4"].map(|key| Write::new(Some(Key::from(key)), WriteKind::Put, body()));
    let both = photo.write(writes.to_vec(), &internal()).await;
    assert_eq!(both.unwrap_err().status(), 400);
    assert!(support::get(&photo, "3").await.is_none(), "all or nothing");
    fixture.verify("data").await;
}

#[tokio::test]
async fn s13_blobs_of_expired_records_dropped_tables_and_databases_are_removed() {
    let fixture = Fixture::with(|config| {
        config.sweep_interval = std::time::Duration::from_millis(10);
    });
    let tables = fixture
        .ensure(
            "type A @table(database: \"a\") { id: ID @primaryKey, picture: Blob }
             type B @table(database: \"a\") { id: ID @primaryKey, picture: Blob }",
        )
        .await;
    for table in &tables {
        for key in ["1", "2"] {
            keep(
                table,
                key,
                WriteKind::Put,
                &upload(table, &sample(9_000)).await,
            )
            .await;
        }
    }
    let taken = upload(&tables[0], &sample(9_000)).await;
    let body = Value::Map(Map::from_iter([("picture", taken.value())]));
    let soon = Write {
        expires_at: base::Timestamp::from_millis(base::Timestamp::now().as_millis() + 1.0),
        ..Write::new(Some(Key::from("3")), WriteKind::Put, Some(body))
    };
    tables[0].write(vec![soon], &internal()).await.unwrap();
    assert!((4..=5).contains(&files_of(&fixture)));
    let swept = async {
        while files_of(&fixture) > 4 {
            fixture.store.settle("a").await.unwrap();
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, swept).await.unwrap();
    fixture.store.drop_table("a", "A").await.unwrap();
    fixture.store.settle("a").await.unwrap();
    assert_eq!(files_of(&fixture), 2);
    fixture.verify("a").await;
    fixture.store.drop_database("a").await.unwrap();
    assert_eq!(files_of(&fixture), 0);
}

#[tokio::test]
async fn s13_the_bounds_of_uploads_are_413_and_503() {
    let fixture = Fixture::with(|config| {
        config.max_blob_bytes = 20_000;
        config.max_uploads = 1;
    });
    let photo = fixture.table(PHOTO).await;
    let context = internal();
    let large = photo.upload("picture", None, content(&sample(20_001)), &context);
    assert_eq!(large.await.unwrap_err().status(), 413);
    drop(upload(&photo, &sample(20_000)).await);
    let mut stalled = photo.upload("picture", None, Box::pin(stream::pending()), &context);
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(stalled.poll_unpin(cx))).await;
    assert!(polled.is_pending());
    let second = photo.upload("picture", None, content(b"x"), &context);
    assert_eq!(second.await.unwrap_err().status(), 503);
    drop(stalled);
    drop(upload(&photo, b"x").await);
}

#[tokio::test]
async fn s13_uploads_and_reads_need_the_permission_of_the_attribute() {
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    keep(
        &photo,
        "1",
        WriteKind::Put,
        &upload(&photo, &sample(9_000)).await,
    )
    .await;
    let flags = |read, update| resource::access::AttributeFlags {
        read,
        update,
        ..Default::default()
    };
    let role = |flags| {
        let attributes = HashMap::from([("picture".to_owned(), flags)]);
        let access = TableAccess {
            attributes: Some(Arc::new(AttributeAccess { attributes })),
            ..TableAccess::ALL
        };
        let tables = HashMap::from([("Photo".to_owned(), access)]);
        user(Permissions {
            tables: HashMap::from([("data".to_owned(), tables)]),
            ..Permissions::default()
        })
    };
    let target = Target::record("1");
    let attempt = async |context: &Context, attribute| {
        let read = photo.blob(&target, attribute, context).await;
        let write = photo.upload(attribute, None, content(b"x"), context).await;
        let status = |error: Error| error.status();
        (
            read.map(drop).map_err(status),
            write.map(drop).map_err(status),
        )
    };
    let reader = role(flags(true, false));
    assert_eq!(attempt(&reader, "picture").await, (Ok(()), Err(403)));
    let writer = role(flags(false, true));
    assert_eq!(attempt(&writer, "picture").await, (Err(403), Ok(())));
    assert_eq!(attempt(&writer, "note").await, (Err(403), Err(403)));
    let nobody = user(Permissions::default());
    assert_eq!(attempt(&nobody, "picture").await, (Err(403), Err(403)));
    assert_eq!(attempt(&internal(), "name").await, (Err(400), Err(400)));
    assert_eq!(attempt(&internal(), "other").await, (Err(404), Err(404)));
    // A replacement by who may not write the attribute keeps its content.
    let namer = {
        let flags = resource::access::AttributeFlags {
            read: true,
            insert: true,
            update: true,
        };
        let attributes = HashMap::from([("name".to_owned(), flags)]);
        let access = TableAccess {
            attributes: Some(Arc::new(AttributeAccess { attributes })),
            ..TableAccess::ALL
        };
        let tables = HashMap::from([("Photo".to_owned(), access)]);
        user(Permissions {
            tables: HashMap::from([("data".to_owned(), tables)]),
            ..Permissions::default()
        })
    };
    let body = support::json(r#"{"name":"new"}"#);
    let put = Write::new(Some(Key::from("1")), WriteKind::Put, Some(body));
    photo.write(vec![put], &namer).await.unwrap();
    assert_eq!(read(&photo, "1").await, sample(9_000));
}

#[tokio::test]
async fn s13_events_and_the_log_carry_the_description_and_not_the_content() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let photo = fixture.table(PHOTO).await;
    let options = SubscribeOptions {
        omit_current: true,
        ..SubscribeOptions::default()
    };
    let context = internal();
    let subscription = photo.subscribe(Scope::All, &options, &context);
    let mut subscription = subscription.await.unwrap();
    keep(
        &photo,
        "1",
        WriteKind::Put,
        &upload(&photo, &sample(9_000)).await,
    )
    .await;
    let event = support::deliveries(&mut subscription, 1).await.remove(0);
    let json = event.event.body.as_ref().unwrap().json();
    assert!(json.len() < 300 && !json.windows(8).any(|part| part == b"__blob__"));
}

/// Memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn s13_memory_stays_flat_while_a_blob_is_written_and_read() {
    const SIZE: u64 = 256 << 20;
    let fixture = Fixture::new();
    let photo = fixture.table(PHOTO).await;
    let most = Arc::new(AtomicU64::new(0));
    let before = resident_bytes();
    let seen = Arc::clone(&most);
    let piece = Bytes::from(vec![7; 1 << 16]);
    let pieces = stream::iter(0..SIZE >> 16).map(move |_| {
        seen.fetch_max(resident_bytes(), Ordering::Relaxed);
        Ok(piece.clone())
    });
    let context = internal();
    let taken = photo.upload("picture", None, Box::pin(pieces), &context);
    keep(&photo, "1", WriteKind::Put, &taken.await.unwrap()).await;
    let mut read = open(&photo, "1", "picture").await.unwrap().read();
    let mut length = 0;
    while let Some(piece) = read.next().await {
        length += piece.unwrap().len() as u64;
        most.fetch_max(resident_bytes(), Ordering::Relaxed);
    }
    assert_eq!(length, SIZE);
    let grown = most.load(Ordering::Relaxed).saturating_sub(before);
    assert!(grown < 32 << 20, "grew by {grown} bytes");
}

const DIRECTORY: &str = "MOTET_TEST_BLOB_DIRECTORY";
const TASKS: usize = 4;

async fn open_store(directory: &Path) -> (Arc<Store>, Arc<dyn Resource>) {
    let store = Store::open(StoreConfig::new(directory), Hub::new(1)).unwrap();
    let schema = store::schema::parse(PHOTO, "schema.graphql").unwrap();
    let table = store.ensure(schema.tables).await.unwrap().remove(0);
    (store, table)
}

/// The process to be killed; does nothing in an ordinary test run.
#[tokio::test]
async fn writing_process() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let (_store, photo) = open_store(directory.as_ref()).await;
    let tasks = (0..TASKS).map(|task| {
        let photo = Arc::clone(&photo);
        async move {
            for n in 0.. {
                let bytes = sample(8_000 + 5_000 * ((n + task) % 20));
                let taken = upload(&photo, &bytes).await;
                keep(&photo, &format!("{task}-{}", n % 5), WriteKind::Put, &taken).await;
                println!("acknowledged");
            }
        }
    });
    futures_util::future::join_all(tasks).await;
}

#[tokio::test]
async fn after_a_kill_no_record_lacks_its_blob_and_no_file_lacks_its_record() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..6_u128 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writing_process", "--exact", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut left = 10 + uuid::Uuid::new_v4().as_u128() % 80;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            left = left.saturating_sub(u128::from(line.unwrap().contains("acknowledged")));
            if left == 0 {
                drop(child.kill());
            }
        }
        assert!(
            !child.wait().unwrap().success(),
            "it must not end by itself"
        );
        let (store, photo) = open_store(directory.path()).await;
        // The sweep at the start removes what was not committed.
        store.settle("data").await.unwrap();
        let found = store.verify("data").await.unwrap();
        assert_eq!(
            found.problem_count, 0,
            "round {round}: {:#?}",
            found.problems
        );
        assert!(found.blob_files > 0);
        let on_disk = files(&directory.path().join("blobs")).len() as u64;
        assert_eq!(on_disk, found.blob_files, "round {round}");
        for record in support::search(&photo, Query::default()).await.unwrap() {
            let Some(Key::String(key)) = record.key else {
                panic!("a text key");
            };
            let bytes = read(&photo, &key).await;
            assert_eq!(bytes, sample(bytes.len()), "round {round}: {key}");
        }
    }
}
