// A worker, a trigger and control with nothing but an AMQP client, by `docs/protocol.md`.
//
//     node client.js URL
//
// It prints one JSON object that tells what it saw.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import amqp from "amqplib";

const NAMESPACE = "plain";
const QUEUE = {
  durable: true,
  arguments: {
    "x-queue-type": "quorum",
    "x-delivery-limit": 100000,
    "x-dead-letter-exchange": `${NAMESPACE}.dead`,
  },
};
const WAIT_MS = 30000;

class PlainClient {
  constructor(channel) {
    this.channel = channel;
    this.replyTo = `${NAMESPACE}.reply.${randomUUID()}`;
    this.waiting = new Map();
    this.attempts = [];
    this.closeGate();
  }

  closeGate() {
    this.gate = new Promise((resolve) => {
      this.openGate = resolve;
    });
  }

  async open() {
    await this.channel.prefetch(10);
    await this.channel.assertQueue(this.replyTo, { exclusive: true, durable: false });
    await this.channel.consume(this.replyTo, (answer) => {
      this.channel.ack(answer);
      this.waiting.get(answer.properties.correlationId)?.(answer);
    });
  }

  // Publishes a message, and waits until the broker has it.
  publish(exchange, key, body, properties) {
    return new Promise((resolve, reject) => {
      const options = {
        contentType: "application/json",
        messageId: randomUUID(),
        mandatory: true,
        persistent: true,
        ...properties,
      };
      const content = Buffer.from(JSON.stringify(body));
      this.channel.publish(exchange, key, content, options, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  // ----------------------------------------------------------------------- the worker

  async serve(endpoint) {
    const queue = `${NAMESPACE}.steps.${endpoint.split(".")[0]}`;
    await this.channel.assertQueue(queue, QUEUE);
    await this.channel.bindQueue(queue, `${NAMESPACE}.steps`, endpoint);
    await this.channel.consume(queue, (request) => this.work(request));
  }

  async work(request) {
    const { headers, correlationId, replyTo } = request.properties;
    const endpoint = headers["flow-endpoint"];
    const attempt = Number(headers["flow-attempt"]);
    this.attempts.push(`${endpoint} ${attempt}`);
    if (endpoint === "inventory.reserve") await this.gate;
    const body = JSON.parse(request.content.toString());
    const [result, outcome] = handle(endpoint, attempt, body);
    // First the reply is confirmed, then the request is acknowledged.
    await this.publish("", replyTo, result, {
      type: "step.reply",
      correlationId,
      headers: { "flow-outcome": outcome, tenant: headers.tenant ?? "" },
    });
    this.channel.ack(request);
  }

  // ------------------------------------------------------------------- whoever asks

  trigger(workflow, body, headers) {
    return this.ask(`${NAMESPACE}.trigger`, workflow, undefined, body, headers);
  }

  request(verb, execution, body) {
    const headers = { "flow-execution": execution, "flow-actor": "a plain client" };
    return this.ask(`${NAMESPACE}.control`, "", `request.${verb}`, body, headers);
  }

  async ask(exchange, key, type, body, headers) {
    const correlationId = randomUUID();
    const answered = new Promise((resolve) => this.waiting.set(correlationId, resolve));
    await this.publish(exchange, key, body, {
      type,
      correlationId,
      replyTo: this.replyTo,
      headers,
    });
    const late = sleep(WAIT_MS, undefined, { ref: false }).then(() => {
      throw new Error(`no answer to ${type ?? "the trigger"}`);
    });
    const answer = await Promise.race([answered, late]);
    const document = JSON.parse(answer.content.toString());
    const failed = answer.properties.headers["flow-outcome"] === "failure";
    return failed ? { error: document.type } : document;
  }
}

function handle(endpoint, attempt, body) {
  if (endpoint === "inventory.reserve") {
    return [{ hold: `h-${body.total}`, total: body.total }, "success"];
  }
  if (attempt === 1) return [{ type: "BankError", message: "the bank is away" }, "failure"];
  return [{ receipt: `${body.hold}/${body.total}` }, "success"];
}

async function untilSuspended(client, execution) {
  for (let tries = 0; tries < 500; tries += 1) {
    const { status } = await client.request("show", execution, {});
    if (status !== "SUSPENDING") return status;
    await sleep(20);
  }
  return "never";
}

async function play(client) {
  const seen = {};
  await client.open();
  await client.serve("inventory.reserve");
  await client.serve("payments.charge");
  client.openGate();
  const waits = { "flow-id": "first", "flow-wait": "result", tenant: "t1" };
  seen.result = await client.trigger("order", { total: 5 }, waits);
  seen.again = await client.trigger("order", { total: 5 }, waits);
  seen.conflict = await client.trigger("order", { total: 6 }, waits);
  seen.unknown = await client.trigger("odrer", {}, { "flow-id": "third" });
  client.closeGate();
  const before = client.attempts.length;
  seen.accepted = await client.trigger("order", { total: 7 }, { "flow-id": "second" });
  const suspend = { command: "s-1", reason: "stocktaking" };
  seen.suspend = await client.request("suspend", "second", suspend);
  client.openGate();
  seen.suspended = await untilSuspended(client, "second");
  seen["attempts while suspended"] = client.attempts.slice(before);
  seen.resume = await client.request("resume", "second", { command: "r-1" });
  seen.late = await client.request("suspend", "second", suspend);
  seen.second = await client.request("result", "second", { durable: true });
  seen.nobody = await client.request("abort", "nobody", { command: "a-1" });
  seen.attempts = client.attempts;
  return seen;
}

const connection = await amqp.connect(process.argv[2]);
const channel = await connection.createConfirmChannel();
const seen = await play(new PlainClient(channel));
console.log(`seen ${JSON.stringify(seen)}`);
await connection.close();
