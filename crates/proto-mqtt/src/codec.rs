//! Bytes to packets and back.
//!
//! Reading is strict and copies nothing: [`take_frame`] cuts one packet out of a buffer, [`decode`] checks all
//! of it and returns a [`Packet`] that borrows from the frame. Writing goes into an [`Outbox`]: control
//! packets by [`encode`], publications by [`encode_publish`], which shares long payloads.
//!
//! ```
//! use bytes::BytesMut;
//! use proto_mqtt::codec::{FrameLimits, Packet, decode, take_frame};
//! use proto_mqtt::Version;
//!
//! // PUBLISH, QoS 0, topic `Dog/1`, and the first byte of the next packet.
//! let mut buf = BytesMut::from(&b"\x30\x09\x00\x05Dog/1{}\xC0"[..]);
//! let frame = take_frame(&mut buf, FrameLimits::uniform(1024))?.expect("complete");
//! let Packet::Publish(publish) = decode(&frame, Version::V3_1_1)? else { panic!() };
//! assert_eq!((publish.topic, publish.payload), ("Dog/1", &b"{}"[..]));
//! assert_eq!(take_frame(&mut buf, FrameLimits::uniform(1024))?, None);
//! # Ok::<(), proto_mqtt::DecodeError>(())
//! ```

mod connect;
mod decode;
pub mod encode;
mod frame;
mod outbox;
mod packet;
mod properties;
mod publish;
mod reader;
pub mod topic;
mod writer;

pub use self::decode::{connect_version, decode};
pub use self::frame::{
    Frame, FrameLimits, PacketType, RemainingLength, remaining_length, take_frame,
};
pub use self::outbox::Outbox;
pub use self::packet::{
    Ack, Auth, Connect, Disconnect, Packet, Publish, PublishProperties, Subscribe,
    SubscriptionOptions, Unsubscribe, Will,
};
pub use self::publish::{Message, PublishHeader, TopicAlias, encode_publish, encoded_publish_len};
