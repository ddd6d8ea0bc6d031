// Send orders and their payments to Kafka, as docs/contract.md wants them.
//
//   KAFKA_BOOTSTRAP=127.0.0.1:9092 node examples/javascript/producer.js --orders 20
//
// Four things make the counts right:
// - The key of every record is the order_id. All events of an order are then in one partition, and
//   duplicates are found within a partition.
// - event_id follows from the order and what happened to it. A random id would make each retry a
//   new event.
// - occurred_at is stored with the order. An event that is sent again says the same time as before.
// - acks: -1 and idempotent: a record that was acknowledged is neither lost nor written twice.
//
// So sending everything again after a failure is safe: --at and --shop name the same orders.

import { parseArgs } from "node:util";
import { Kafka, logLevel, Partitioners } from "kafkajs";

const BOOTSTRAP = process.env.KAFKA_BOOTSTRAP ?? "127.0.0.1:9092";
const PRICE_MINOR = 1_500; // 15.00 euros: money is an integer of the minor unit

const placed = (orderId, at) => ({
  event_id: `${orderId}:placed`,
  type: "order.placed",
  occurred_at: at,
  market: "HOME",
  order_id: orderId,
  payment_method: "card",
  currency: "EUR",
  lines: [{ sku: "atlas", category: "books", quantity: 1, unit_price_minor: PRICE_MINOR }],
});

const captured = (orderId, at) => ({
  event_id: `${orderId}:captured`,
  type: "payment.captured",
  occurred_at: at,
  placed_at: at,
  market: "HOME",
  order_id: orderId,
  method: "card",
  amount_minor: PRICE_MINOR,
  currency: "EUR",
});

const record = (event) => ({ key: event.order_id, value: JSON.stringify(event) });

async function send(orderIds, at) {
  const kafka = new Kafka({
    brokers: BOOTSTRAP.split(","),
    clientId: "ecindex-example",
    connectionTimeout: 2_000,
    retry: { retries: 3 },
    logLevel: logLevel.NOTHING, // what goes wrong is said once, below
  });
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1, // keeps the order of a key over retries
    createPartitioner: Partitioners.DefaultPartitioner, // murmur2, as the Java and Python clients
  });
  try {
    await producer.connect();
    await producer.sendBatch({
      acks: -1,
      topicMessages: [
        { topic: "orders", messages: orderIds.map((id) => record(placed(id, at))) },
        { topic: "payments", messages: orderIds.map((id) => record(captured(id, at))) },
      ],
    });
  } finally {
    await producer.disconnect();
  }
}

const { values: given } = parseArgs({
  options: {
    orders: { type: "string", default: "20" },
    shop: { type: "string", default: "javascript" },
    at: { type: "string", default: new Date().toISOString() },
  },
});
const orders = Number(given.orders);
const again = `--orders ${orders} --shop ${given.shop} --at ${given.at}`;
try {
  const orderIds = Array.from({ length: orders }, (_, n) => `${given.shop}-${given.at}-${n}`);
  await send(orderIds, given.at);
  console.log(`${orders} orders and as many payments acknowledged; the same again: ${again}`);
} catch (error) {
  console.error(
    `Kafka at ${BOOTSTRAP} did not take the events: ${error.message}. ` +
      `To send the same ones again: ${again}`,
  );
  process.exitCode = 2;
}
