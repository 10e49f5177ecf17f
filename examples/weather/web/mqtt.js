// A small MQTT 3.1.1 client for browsers: connect, subscribe, publish with QoS 0 and 1.
// Section numbers are those of the OASIS text of MQTT 3.1.1.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A UTF-8 string with its two-byte length (1.5.3). */
function text(value) {
  const bytes = encoder.encode(value);
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
}

/** A packet: first byte, Remaining Length (2.2.3), body. */
function packet(first, body) {
  const head = [first];
  let length = body.length;
  do {
    const more = length > 127 ? 128 : 0;
    head.push((length % 128) | more);
    length = Math.floor(length / 128);
  } while (length > 0);
  return Uint8Array.from([...head, ...body]);
}

export class MqttClient {
  /** `handlers`: `live()`, `message(topic, payload, retained)`, `closed(reason)`. */
  constructor(url, handlers, keepAliveSeconds = 30) {
    this.handlers = handlers;
    this.nextId = 1;
    this.buffer = new Uint8Array(0);
    this.socket = new WebSocket(url, 'mqtt');
    this.socket.binaryType = 'arraybuffer';
    this.socket.onopen = () => {
      // CONNECT (3.1): protocol name, level 4, clean session, keep alive, empty client identifier.
      this.send(0x10, [...text('MQTT'), 4, 2, keepAliveSeconds >> 8, keepAliveSeconds & 255, ...text('')]);
      this.timer = setInterval(() => this.send(0xc0, []), keepAliveSeconds * 1000);
    };
    this.socket.onmessage = (event) => this.receive(new Uint8Array(event.data));
    this.socket.onclose = (event) => {
      clearInterval(this.timer);
      handlers.closed(event.reason || `code ${event.code}`);
    };
  }

  subscribe(filter, qos = 0) {
    const id = this.packetId();
    this.send(0x82, [id >> 8, id & 255, ...text(filter), qos]);
  }

  publish(topic, payload, { retain = false, qos = 0 } = {}) {
    const id = this.packetId();
    const identifier = qos > 0 ? [id >> 8, id & 255] : [];
    this.send(0x30 | (qos << 1) | (retain ? 1 : 0), [...text(topic), ...identifier, ...encoder.encode(payload)]);
  }

  close() {
    this.send(0xe0, []);
    this.socket.close();
  }

  packetId() {
    const id = this.nextId;
    this.nextId = id === 65535 ? 1 : id + 1;
    return id;
  }

  send(first, body) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(packet(first, body));
  }

  /** Packets may be split over frames or share one. */
  receive(bytes) {
    const joined = new Uint8Array(this.buffer.length + bytes.length);
    joined.set(this.buffer);
    joined.set(bytes, this.buffer.length);
    let at = 0;
    for (;;) {
      let length = 0, shift = 0, head = at + 1, complete = false;
      while (head < joined.length && shift < 28) {
        const byte = joined[head++];
        length += (byte & 127) << shift;
        shift += 7;
        if (byte < 128) { complete = true; break; }
      }
      if (!complete || head + length > joined.length) break;
      this.handle(joined[at], joined.subarray(head, head + length));
      at = head + length;
    }
    this.buffer = joined.slice(at);
  }

  handle(first, body) {
    switch (first >> 4) {
      case 2: // CONNACK (3.2): return code 0 is accepted
        if (body[1] === 0) this.handlers.live();
        else this.handlers.closed(`refused with code ${body[1]}`);
        break;
      case 3: { // PUBLISH (3.3)
        const qos = (first >> 1) & 3;
        const end = 2 + ((body[0] << 8) | body[1]);
        const topic = decoder.decode(body.subarray(2, end));
        if (qos === 1) this.send(0x40, [body[end], body[end + 1]]);
        this.handlers.message(topic, decoder.decode(body.subarray(end + (qos > 0 ? 2 : 0))), (first & 1) === 1);
        break;
      }
      default: // SUBACK, PUBACK, PINGRESP: nothing to do
    }
  }
}
