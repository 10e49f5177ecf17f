//! Attributes of type `Blob`, streamed in and out: `rest.md` G4, X1, X2, X4, §5.1.

mod support;

use std::sync::Arc;

use resource::Resource;
use rest::RestConfig;

use crate::support::{Call, Service, Table};

fn album() -> (Service, Arc<Table>) {
    let service = Service::with(RestConfig {
        max_body_bytes: 1000,
        ..RestConfig::default()
    });
    let photos = Arc::new(Table::photos());
    service.export("Photo", Arc::clone(&photos) as Arc<dyn Resource>);
    (service, photos)
}

#[tokio::test]
async fn x1_x2_content_of_other_types_is_taken_as_a_blob() {
    let (service, photos) = album();
    for content_type in ["image/png", "application/octet-stream"] {
        let put = Call::new("PUT", "/Photo/1").body(content_type, "0123456789");
        service.send(put).await.is(204, "");
        let taken = ("data".to_owned(), Some(content_type.to_owned()));
        assert_eq!(photos.uploads.lock().unwrap().last(), Some(&taken));
        let reply = service.get("/Photo/1").await;
        reply.is(200, "0123456789");
        assert_eq!(reply.header("content-type"), content_type);
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("vary"), "Accept-Encoding");
    }
    let put = Call::new("PUT", "/Photo/2").body("image/png", "");
    service.send(put).await.fails(400, "A body is required");
    let put = Call::new("PUT", "/Photo/2").body("image/png", "x".repeat(1001));
    service
        .send(put)
        .await
        .fails(413, "Request body too large, maximum size is 1000 bytes");
    assert_eq!(photos.len(), 1);
    // What a format reads is a record, as everywhere.
    service
        .put("/Photo/3", r#"{"contentType":"x"}"#)
        .await
        .is(204, "");
    service.get("/Photo/3.data").await.is(404, "");
}

#[tokio::test]
async fn x4_active_content_of_a_blob_is_a_download() {
    let (service, _) = album();
    let put = Call::new("PUT", "/Photo/1").body("image/svg+xml", "<svg/>");
    service.send(put).await.is(204, "");
    for url in ["/Photo/1", "/Photo/1.data"] {
        let reply = service.get(url).await;
        assert_eq!(reply.header("content-disposition"), "attachment", "{url}");
    }
}

#[tokio::test]
async fn g4_a_blob_has_a_length_a_tag_and_ranges() {
    let (service, _) = album();
    let put = Call::new("PUT", "/Photo/1").body("image/png", "0123456789");
    let written = service.send(put).await;
    let head = service.send(Call::new("HEAD", "/Photo/1.data")).await;
    head.is(200, "");
    assert_eq!(head.header("content-length"), "10");
    let whole = service.get("/Photo/1.data").await;
    whole.is(200, "0123456789");
    assert_eq!(whole.header("etag"), written.header("etag"));
    let part = service
        .send(Call::new("GET", "/Photo/1.data").header("range", "bytes=3-7"))
        .await;
    part.is(206, "34567");
    assert_eq!(part.header("content-range"), "bytes 3-7/10");
    let beyond = Call::new("GET", "/Photo/1").header("range", "bytes=10-");
    service.send(beyond).await.is(416, "");
    let known = Call::new("GET", "/Photo/1").header("if-none-match", whole.header("etag"));
    service.send(known).await.is(304, "");
    let stale = Call::new("GET", "/Photo/1.data").header("if-match", "\"x\"");
    assert_eq!(service.send(stale).await.status, 412);
    service.get("/Photo/2.data").await.is(404, "");
}

#[tokio::test]
async fn table_9_1_files_of_a_form_go_into_blobs() {
    let (service, photos) = album();
    let form = "--X\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n7\r\n\
                --X\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\
                Content-Type: image/png\r\n\r\n01234\r\n\
                --X\r\nContent-Disposition: form-data; name=\"other\"; filename=\"p\"\r\n\r\n\x01\r\n\
                --X--\r\n";
    let post = Call::new("POST", "/Photo/").body("multipart/form-data; boundary=X", form);
    service.send(post).await.is(201, "\"7\"");
    let taken = ("picture".to_owned(), Some("image/png".to_owned()));
    assert_eq!(*photos.uploads.lock().unwrap(), [taken]);
    let picture = service.get("/Photo/7.picture").await;
    picture.is(200, "01234");
    assert_eq!(picture.header("content-type"), "image/png");
    let large = form.replace("01234", &"x".repeat(1000));
    let post = Call::new("POST", "/Photo/").body("multipart/form-data; boundary=X", large);
    service
        .send(post)
        .await
        .fails(413, "Request body too large, maximum size is 1000 bytes");
    let cut = Call::new("POST", "/Photo/").body("multipart/form-data; boundary=X", &form[..150]);
    assert_eq!(service.send(cut).await.status, 400);
    assert_eq!(photos.len(), 1);
}

#[tokio::test]
async fn a_copy_has_contents_of_its_own() {
    let (service, photos) = album();
    let put = Call::new("PUT", "/Photo/1").body("image/png", "0123456789");
    service.send(put).await.is(204, "");
    let copy = Call::new("COPY", "/Photo/1").header("destination", "/Photo/2");
    service.send(copy).await.is(201, "");
    assert_eq!(photos.uploads.lock().unwrap().len(), 2);
    let reply = service.get("/Photo/2").await;
    reply.is(200, "0123456789");
    assert_eq!(reply.header("content-type"), "image/png");
}
