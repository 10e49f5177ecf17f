//! An echo endpoint under the groups of cases that the Autobahn suite publishes: framing, pings, reserved bits,
//! opcodes, fragmentation, UTF-8, closing, sizes and compression. The client is written by hand here.

use std::sync::Arc;
use std::time::Duration;

use base::{ConnInfo, Shutdown};
use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use http_chain::{Chain, Request, Stage};
use proto_ws::{DeflateConfig, Endpoint, WebSocket, WsConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tungstenite::protocol::frame::FrameHeader;

const LIMIT: Duration = Duration::from_secs(60);
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// What ends the connection normally, and how that is answered.
const GOOD_BYE: &[u8] = b"\x03\xe8";

async fn echo(mut socket: WebSocket) {
    while let Some(message) = socket.next().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// First byte and payload of a frame.
type Sent = (u8, Bytes);

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    let keys = KEY.iter().cycle();
    bytes.extend(payload.iter().zip(keys).map(|(byte, key)| byte ^ key));
    bytes
}

fn frames(list: &[(u8, &[u8])]) -> Vec<u8> {
    let frames = list.iter().map(|(first, payload)| frame(*first, payload));
    frames.collect::<Vec<_>>().concat()
}

fn sent(list: &[(u8, &[u8])]) -> Vec<Sent> {
    let copied = |(first, payload): &(u8, &[u8])| (*first, Bytes::copy_from_slice(payload));
    list.iter().map(copied).collect()
}

/// What an echo endpoint sends until it closes, if `bytes` come in pieces of this size.
async fn replies(offer: Option<&str>, bytes: &[u8], piece_bytes: usize) -> Vec<Sent> {
    let config = WsConfig {
        deflate: Some(DeflateConfig {
            context_takeover: true,
            threshold_bytes: 0,
            ..DeflateConfig::DEFAULT
        }),
        ..WsConfig::default()
    };
    let chain = Chain::new([("echo", Stage::handler(Endpoint::new(config, echo)))]);
    let mut request = Request::new(http::Method::GET, "/").unwrap();
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    if let Some(offer) = offer {
        let offer = offer.parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-extensions", offer);
    }
    let response = chain.answer(request).await;
    assert_eq!(response.status(), 101);
    let is_compressed = response.headers().contains_key("sec-websocket-extensions");
    assert_eq!(is_compressed, offer.is_some());
    let (client, server) = duplex(1 << 16);
    let task = response.upgrade_task().unwrap();
    let served = task.start(
        Box::new(server),
        Arc::new(ConnInfo::loopback()),
        Shutdown::new(),
    );
    let (mut reading, mut writing) = tokio::io::split(client);
    let write = async move {
        for piece in bytes.chunks(piece_bytes) {
            if writing.write_all(piece).await.is_err() {
                break;
            }
        }
    };
    let read = async move {
        let mut all = Vec::new();
        reading.read_to_end(&mut all).await.unwrap();
        all
    };
    let exchange = async { tokio::join!(served.unwrap(), write, read).2 };
    let all = tokio::time::timeout(LIMIT, exchange)
        .await
        .expect("closed in time");
    parse(BytesMut::from(&all[..]).freeze())
}

fn parse(mut bytes: Bytes) -> Vec<Sent> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let mut cursor = std::io::Cursor::new(&bytes[..]);
        let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
        assert_eq!(header.mask, None, "frames of a server are not masked");
        let (start, first) = (cursor.position() as usize, bytes[0]);
        let mut frame = bytes.split_to(start + length as usize);
        all.push((first, frame.split_off(start)));
    }
    all
}

/// Whole, and byte by byte.
async fn check(group: &str, bytes: &[u8], expected: &[Sent]) {
    for piece_bytes in [usize::MAX, 1] {
        if bytes.len() < 100_000 || piece_bytes > 1 {
            assert_eq!(replies(None, bytes, piece_bytes).await, expected, "{group}");
        }
    }
}

/// `list` is answered by `expected`, and the connection is closed by the client then.
async fn check_open(group: &str, list: &[(u8, &[u8])], expected: &[(u8, &[u8])]) {
    let bytes = [frames(list), frame(0x88, GOOD_BYE)].concat();
    check(
        group,
        &bytes,
        &[sent(expected), sent(&[(0x88, GOOD_BYE)])].concat(),
    )
    .await;
}

/// `list` is answered by `expected`, and fails then with `code`. Nothing after it counts.
async fn check_failed(group: &str, list: &[(u8, &[u8])], expected: &[(u8, &[u8])], code: u16) {
    let bytes = [frames(list), frames(&[(0x81, b"late"), (0x89, b"")])].concat();
    let replies = replies(None, &bytes, 3).await;
    let (close, before) = replies.split_last().expect(group);
    assert_eq!(before, sent(expected), "{group}");
    assert_eq!(close.0, 0x88, "{group}");
    assert_eq!(close.1[..2], code.to_be_bytes(), "{group}");
}

#[tokio::test]
async fn group_1_messages_of_every_length_form_come_back() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        for first in [0x81, 0x82] {
            let message: &[(u8, &[u8])] = &[(first, &payload)];
            check_open("1", message, message).await;
        }
    }
}

#[tokio::test]
async fn group_2_pings_are_answered_and_pongs_are_not() {
    let payload = [0xfe; 125];
    check_open("2.1", &[(0x89, b"")], &[(0x8a, b"")]).await;
    check_open("2.4", &[(0x89, &payload)], &[(0x8a, &payload)]).await;
    check_failed("2.5", &[(0x89, &[0xfe; 126])], &[], 1002).await;
    check_open("2.7", &[(0x8a, b"unasked"), (0x89, b"a")], &[(0x8a, b"a")]).await;
    let pings: Vec<[u8; 1]> = (0..10).map(|n| [n]).collect();
    let list: Vec<(u8, &[u8])> = pings.iter().map(|ping| (0x89, &ping[..])).collect();
    let pongs: Vec<(u8, &[u8])> = pings.iter().map(|ping| (0x8a, &ping[..])).collect();
    check_open("2.10", &list, &pongs).await;
}

#[tokio::test]
async fn group_3_reserved_bits_fail() {
    for bits in 1..=7 {
        for first in [0x81, 0x82, 0x89, 0x8a, 0x88] {
            let broken = (first | bits << 4, &b"x"[..]);
            let list = [(0x81, &b"before"[..]), broken];
            check_failed("3", &list, &[(0x81, b"before")], 1002).await;
        }
    }
}

#[tokio::test]
async fn group_4_reserved_opcodes_fail() {
    for opcode in (3..=7).chain(11..=15) {
        for payload in [&b""[..], b"x"] {
            let list = [(0x82, &b"before"[..]), (0x80 | opcode, payload)];
            check_failed("4", &list, &[(0x82, b"before")], 1002).await;
        }
    }
}

#[tokio::test]
async fn group_5_fragments_are_joined_in_order_or_fail() {
    check_failed("5.1", &[(0x09, b"a"), (0x80, b"b")], &[], 1002).await;
    check_failed("5.2", &[(0x0a, b"a"), (0x80, b"b")], &[], 1002).await;
    check_open("5.3", &[(0x01, b"a"), (0x80, b"b")], &[(0x81, b"ab")]).await;
    let list: [(u8, &[u8]); 5] = [
        (0x01, b"a"),
        (0x89, b"1"),
        (0x00, b""),
        (0x89, b"2"),
        (0x80, b"b"),
    ];
    check_open("5.8", &list, &[(0x8a, b"1"), (0x8a, b"2"), (0x81, b"ab")]).await;
    for first in [0x80, 0x00] {
        check_failed("5.9", &[(first, b"x"), (0x81, b"y")], &[], 1002).await;
    }
    let twice: [(u8, &[u8]); 3] = [(0x01, b"a"), (0x80, b"b"), (0x80, b"c")];
    check_failed("5.15", &twice, &[(0x81, b"ab")], 1002).await;
    check_failed("5.18", &[(0x01, b"a"), (0x81, b"b")], &[], 1002).await;
    check_open(
        "6.1",
        &[(0x01, b""), (0x00, b""), (0x80, b"")],
        &[(0x81, b"")],
    )
    .await;
}

#[tokio::test]
async fn group_6_text_is_utf_8_whatever_its_fragments() {
    let valid: [&[u8]; 14] = [
        b"\0",
        b"\x7f",
        b"\xc2\x80",
        b"\xdf\xbf",
        b"\xe0\xa0\x80",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        // Characters that are none are still UTF-8.
        b"\xef\xbf\xbe",
        b"\xef\xbf\xbf",
        b"\xf0\x90\x80\x80",
        b"\xf0\x9f\xbf\xbf",
        b"\xf4\x8f\xbf\xbf",
        "κόσμε".as_bytes(),
    ];
    for text in valid {
        check_open("6.valid", &[(0x81, text)], &[(0x81, text)]).await;
        let mut list: Vec<(u8, &[u8])> = text.chunks(1).map(|byte| (0x00, byte)).collect();
        list[0].0 |= 0x01;
        list.push((0x80, b""));
        check_open("6.fragments", &list, &[(0x81, text)]).await;
    }
    let invalid: [&[u8]; 21] = [
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xc2",
        b"\xc3\x28",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xe2\x82",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf0\x9d\x84",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited",
    ];
    for text in invalid {
        check_failed("6.invalid", &[(0x81, text)], &[], 1007).await;
        check_failed("6.fragments", &[(0x01, text), (0x80, b"")], &[], 1007).await;
        check_open("6.binary", &[(0x82, text)], &[(0x82, text)]).await;
    }
}

#[tokio::test]
async fn group_6_4_invalid_text_fails_without_waiting_for_the_rest() {
    // The header promises more than ever comes.
    let mut bytes = frame(0x01, &[b'a'; 200]);
    bytes.extend(frame(0x00, b"\xf4\x90"));
    bytes.extend(&frame(0x80, &[b'a'; 100])[..10]);
    let replies = replies(None, &bytes, 7).await;
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].1[..2], 1007u16.to_be_bytes());
}

#[tokio::test]
async fn group_7_a_close_frame_is_answered_and_ends_everything() {
    let late: &[(u8, &[u8])] = &[
        (0x88, GOOD_BYE),
        (0x81, b"late"),
        (0x89, b"late"),
        (0x88, GOOD_BYE),
    ];
    check("7.1", &frames(late), &sent(&[(0x88, GOOD_BYE)])).await;
    let cut: &[(u8, &[u8])] = &[(0x01, b"half"), (0x88, GOOD_BYE), (0x80, b"")];
    check("7.1.6", &frames(cut), &sent(&[(0x88, GOOD_BYE)])).await;
    check("7.3.1", &frame(0x88, b""), &sent(&[(0x88, b"")])).await;
    check_failed("7.3.2", &[(0x88, b"x")], &[], 1002).await;
    let longest = [&[3, 0xe8][..], &[b'*'; 123]].concat();
    check("7.3.5", &frame(0x88, &longest), &sent(&[(0x88, GOOD_BYE)])).await;
    check_failed(
        "7.3.6",
        &[(0x88, &[longest, vec![b'*']].concat())],
        &[],
        1002,
    )
    .await;
    check_failed(
        "7.5.1",
        &[(0x88, b"\x03\xe8\xce\xba\xed\xa0\x80")],
        &[],
        1007,
    )
    .await;
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        let code = u16::to_be_bytes(code);
        check("7.7", &frame(0x88, &code), &sent(&[(0x88, &code)])).await;
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        check_failed("7.9", &[(0x88, &u16::to_be_bytes(code))], &[], 1002).await;
    }
}

#[tokio::test]
async fn group_9_large_messages_come_back_whole_and_in_pieces() {
    let payload = vec![b'*'; 4 << 20];
    for first in [0x81, 0x82] {
        check_open("9.1", &[(first, &payload)], &[(first, &payload)]).await;
        let mut list: Vec<(u8, &[u8])> = payload.chunks(4 << 10).map(|piece| (0, piece)).collect();
        list[0].0 = first & 0x0f;
        list.last_mut().unwrap().0 |= 0x80;
        check_open("9.3", &list, &[(first, &payload)]).await;
    }
    let many = vec![(0x82, &payload[..16]); 1000];
    check_open("9.7", &many, &many).await;
}

/// The client's end of the compression.
struct Codec {
    deflate: Compress,
    inflate: Decompress,
    keeps_own: bool,
    keeps_theirs: bool,
}

impl Codec {
    fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() + 1024);
        self.deflate
            .compress_vec(message, &mut out, FlushCompress::Sync)
            .unwrap();
        if out.is_empty() {
            // Nothing came since the last flush.
            return vec![0];
        }
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        if !self.keeps_own {
            self.deflate.reset();
        }
        out
    }

    fn inflate(&mut self, payload: &[u8], length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(length + 1024);
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        self.inflate
            .decompress_vec(&input, &mut out, FlushDecompress::Sync)
            .unwrap();
        if !self.keeps_theirs {
            self.inflate.reset(false);
        }
        out
    }
}

#[tokio::test]
async fn groups_12_and_13_compressed_messages_come_back_under_every_offer() {
    // Text that compresses, and bytes that do not.
    let mut seed = 1u32;
    let noise = (0..131_072).map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    });
    let noise: Vec<u8> = noise.collect();
    let text = "Man kann nicht zweimal in denselben Fluss steigen. ".repeat(2_600);
    for (offer, client_bits, server_bits, keeps_own, keeps_theirs) in [
        ("permessage-deflate", 15, 15, true, true),
        (
            "permessage-deflate; client_no_context_takeover",
            15,
            15,
            false,
            true,
        ),
        (
            "permessage-deflate; server_no_context_takeover",
            15,
            15,
            true,
            false,
        ),
        (
            "permessage-deflate; client_max_window_bits=9",
            9,
            15,
            true,
            true,
        ),
        (
            "permessage-deflate; client_max_window_bits",
            15,
            15,
            true,
            true,
        ),
        (
            "permessage-deflate; server_max_window_bits=9",
            15,
            9,
            true,
            true,
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; \
             client_no_context_takeover; client_max_window_bits=9",
            9,
            9,
            false,
            false,
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; foo, permessage-deflate",
            15,
            15,
            true,
            true,
        ),
    ] {
        let mut codec = Codec {
            deflate: Compress::new_with_window_bits(Compression::new(6), false, client_bits),
            inflate: Decompress::new_with_window_bits(false, server_bits),
            keeps_own,
            keeps_theirs,
        };
        let mut bytes = Vec::new();
        let mut messages: Vec<(u8, &[u8])> = Vec::new();
        for length in [
            0, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072,
        ] {
            for message in [(0xc1, &text.as_bytes()[..length]), (0xc2, &noise[..length])] {
                let payload = codec.deflate(message.1);
                match length % 3 {
                    0 => bytes.extend(frame(message.0, &payload)),
                    _ => {
                        let (first, rest) = payload.split_at(payload.len() / 2);
                        bytes.extend(frame(message.0 & 0x7f, first));
                        bytes.extend(frame(0x80, rest));
                    }
                }
                messages.push(message);
            }
        }
        bytes.extend(frame(0x88, GOOD_BYE));
        let mut replies = replies(Some(offer), &bytes, 1000).await;
        assert_eq!(replies.pop(), sent(&[(0x88, GOOD_BYE)]).pop(), "{offer}");
        assert_eq!(replies.len(), messages.len(), "{offer}");
        for ((first, payload), (kind, message)) in replies.iter().zip(messages) {
            assert_eq!(first & 0x8f, kind & 0x8f, "{offer}");
            let content = match first & 0x40 {
                0 => payload.to_vec(),
                _ => codec.inflate(payload, message.len()),
            };
            assert!(content == message, "{offer}: {} bytes", message.len());
        }
    }
}
