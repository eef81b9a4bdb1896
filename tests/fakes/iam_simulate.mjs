// Judges identity policies: reads {"policies": {name: document}, "requests": [{"action", "resource", "principal", "context"}]}
// from stdin, writes one answer a request ("Allowed", "ExplicitlyDenied", ...) to stdout.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";

const require = createRequire(pathToFileURL(process.argv[2] + "/"));
const { runSimulation } = await import(pathToFileURL(require.resolve("@cloud-copilot/iam-simulate")));

const { policies, requests } = JSON.parse(readFileSync(0, "utf8"));
const answers = [];
for (const { action, resource, principal, context } of requests) {
  const accountId = principal.split(":")[4];
  const simulation = {
    request: {
      principal,
      action,
      resource: { resource, accountId },
      contextVariables: context,
    },
    identityPolicies: Object.entries(policies).map(([name, policy]) => ({ name, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  };
  const answer = await runSimulation(simulation, {});
  answers.push(answer.resultType === "error" ? { error: answer.errors } : answer.analysis?.result ?? answer.overallResult);
}
console.log(JSON.stringify(answers));
