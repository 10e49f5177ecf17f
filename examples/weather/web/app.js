import { MqttClient } from './mqtt.js';

const $ = (id) => document.getElementById(id);
const socketUrl = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/mqtt`;

function log(line) {
  const item = document.createElement('li');
  item.textContent = `${new Date().toLocaleTimeString()} ${line}`;
  $('log').prepend(item);
  while ($('log').children.length > 100) $('log').lastChild.remove();
}

function setState(id, state, live) {
  $(id).textContent = state;
  $(id).classList.toggle('live', live);
}

function row(cells, key) {
  const line = document.createElement('tr');
  line.dataset.key = key;
  line.className = 'changed';
  for (const cell of cells) line.insertCell().textContent = cell ?? '';
  return line;
}

// Thermometers: EventSource gives the current state, then every change, and resumes by itself.
const sensors = new Map();

function showSensors() {
  const lines = [...sensors.values()].sort((a, b) => a.id.localeCompare(b.id));
  $('sensors').replaceChildren(...lines.map((sensor) =>
    row([sensor.id, sensor.celsius, new Date(sensor.updatedAt).toLocaleTimeString()], sensor.id)));
}

const source = new EventSource('/Sensor/');
source.onopen = () => setState('sse-state', 'live', true);
source.onerror = () => setState('sse-state', 'reconnecting', false);
source.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  if (event.type === 'put') sensors.set(event.id, event.value);
  if (event.type === 'delete') sensors.delete(event.id);
  log(`SSE ${event.type} Sensor/${event.id}`);
  showSensors();
};

// Weather: each day is a retained message of its own topic.
const days = new Map();
let shown = false;

function showDays() {
  shown = false;
  $('days').value = days.size;
  const newest = [...days.keys()].sort().slice(-8).reverse();
  $('weather').replaceChildren(...newest.map((date) => {
    const day = days.get(date);
    return row([date, day.weather, `${day.temp_min} to ${day.temp_max}`, day.precipitation, day.wind], date);
  }));
}

let mqtt;
function connect() {
  mqtt = new MqttClient(socketUrl, {
    live() {
      setState('mqtt-state', 'live', true);
      mqtt.subscribe('Weather/+');
    },
    message(topic, payload, retained) {
      const date = topic.slice('Weather/'.length);
      if (payload === '') days.delete(date);
      else days.set(date, JSON.parse(payload));
      if (!retained) log(`MQTT ${topic}`);
      // Thousands of retained messages arrive at once: draw once a frame.
      if (!shown) requestAnimationFrame(showDays);
      shown = true;
    },
    closed(reason) {
      setState('mqtt-state', `closed: ${reason}`, false);
      setTimeout(connect, 2000);
    },
  });
}
connect();

const reading = () => [$('sensor-id').value, { id: $('sensor-id').value, celsius: Number($('sensor-celsius').value) }];

$('sensor-form').onsubmit = async (event) => {
  event.preventDefault();
  const [id, body] = reading();
  const response = await fetch(`/Sensor/${encodeURIComponent(id)}`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  $('error').textContent = response.ok ? '' : `${response.status}: ${await response.text()}`;
};

$('sensor-mqtt').onclick = () => {
  const [id, body] = reading();
  mqtt.publish(`Sensor/${id}`, JSON.stringify(body), { retain: true, qos: 1 });
};
