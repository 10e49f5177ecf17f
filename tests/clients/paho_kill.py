"""Publishers and durable subscribers that stay while the server is killed and started again.

Arguments: port, publishers, QoS. Prints "ready" when all are connected, and after a line on standard input stops
publishing, waits until everything is acknowledged and delivered, and prints one JSON object: what was acknowledged
and what arrived, in order.
"""

import json
import sys
import threading
import time

import paho.mqtt.client as mqtt

PORT, PUBLISHERS, QOS = (int(argument) for argument in sys.argv[1:4])
stop = threading.Event()
acknowledged = {}
received = []
subscribed = threading.Event()


def client(name):
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
    made.reconnect_delay_set(min_delay=0.05, max_delay=0.2)
    made.max_inflight_messages_set(20)
    made.max_queued_messages_set(0)
    return made


def connect(made):
    while True:
        try:
            made.connect("127.0.0.1", PORT, keepalive=10)
            break
        except OSError:
            time.sleep(0.05)
    made.loop_start()


def on_message(_client, _userdata, message):
    received.append([message.topic, json.loads(message.payload)["n"]])


subscriber = client(f"subscriber-{QOS}")
subscriber.on_message = on_message
subscriber.on_connect = lambda made, _u, flags, *_: flags.session_present or made.subscribe("Dog/#", qos=QOS)
subscriber.on_subscribe = lambda *_: subscribed.set()
connect(subscriber)
subscribed.wait(30)


def publish(number):
    name = f"publisher-{QOS}-{number}"
    made = client(name)
    connect(made)
    topic, sent, waiting = f"Dog/{QOS}-{number}", 0, []
    while not stop.is_set():
        waiting.append((sent, made.publish(topic, json.dumps({"n": sent}), qos=QOS)))
        sent += 1
        if sent == 1:
            connected.release()
        # A window, as a careful client has: the oldest first.
        while len(waiting) > 20 and not stop.is_set():
            waiting[0][1].wait_for_publish(0.1)
            while waiting and waiting[0][1].is_published():
                waiting.pop(0)
    for _, info in waiting:
        info.wait_for_publish(60)
    acknowledged[topic] = sent if all(info.is_published() for _, info in waiting) else -1
    made.disconnect()
    made.loop_stop()


connected = threading.Semaphore(0)
threads = [threading.Thread(target=publish, args=[number]) for number in range(PUBLISHERS)]
for thread in threads:
    thread.start()
for _ in threads:
    connected.acquire()
print("ready", flush=True)
sys.stdin.readline()
stop.set()
for thread in threads:
    thread.join()
# Delivered when the last message of each topic has arrived, or nothing comes any more.
deadline = time.time() + 60
while time.time() < deadline:
    last = {topic: count - 1 for topic, count in acknowledged.items()}
    seen = set(map(tuple, received))
    if all((topic, number) in seen for topic, number in last.items()):
        break
    time.sleep(0.05)
# Doublets would follow.
time.sleep(0.5)
subscriber.disconnect()
subscriber.loop_stop()
print(json.dumps({"acknowledged": acknowledged, "received": received}), flush=True)
