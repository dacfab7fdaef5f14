// What the compiler must accept, and what it must refuse. It is compiled and never run.
import { Agent, Client, Decision, Guard, Key, Permit, Refused, type Request, Token } from "@safeconduct/sdk";

export async function accepted(agent: Agent, pdp: Client): Promise<void> {
  const guard = new Guard(pdp, { subject: { type: "agent", id: "bot" }, ask: (_, d) => d.reasons[0]?.message });
  const pay = guard.tool(async ({ amount }: { amount: string; note?: string }, more: number) => ({ paid: amount, more }), {
    action: "pay", resource: (a) => ({ type: "invoice", id: a.amount }), dryRun: ({ amount }) => ({ paid: amount, more: 0 }),
  });
  const { paid, more }: { paid: string; more: number } = await pay({ amount: "1.00" }, 7);
  const permit: Permit = await guard.permit({ action: "pay", resource: { type: "invoice", id: "7" } }, { shapes: true });
  const n: number = await permit.run(() => more);
  const headers: { Authorization: string; DPoP: string } = await agent.tokens({ scope: ["pay"] }).headers("GET", `https://x.example/${paid}${n}`);
  await pdp.outcome("d7", { fault: "tool" });
  void headers;
}

export async function refused(pdp: Client, guard: Guard, d: Decision, q: Request): Promise<void> {
  // @ts-expect-error: a permit is made by a guard
  new Permit(pdp, d);
  // @ts-expect-error: a decision does not change
  d.effect = "allow";
  // @ts-expect-error: a decision is nothing that can be told from its truth
  const allowed: boolean = await pdp.decide(q);
  // @ts-expect-error: neither is a promise of one, which is always there
  if (pdp.decide(q)) return;
  // @ts-expect-error: arguments are one object
  guard.tool((amount: string) => amount);
  // @ts-expect-error: what came of an act is one of four
  await pdp.outcome(d, { result: "fine" });
  // @ts-expect-error: keys are made, loaded, and not put together
  new Key();
  // @ts-expect-error: tokens are got
  new Token("x");
  // @ts-expect-error: a refusal says which decision it was
  new Refused("no");
  void allowed;
}
