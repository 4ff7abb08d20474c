// The answer to a puzzle on standard input, found by the code of ALTCHA's own widget and written as the widget writes it.
import { readFileSync } from "node:fs";
import { pbkdf2, solveChallenge } from "altcha/lib";

const challenge = JSON.parse(readFileSync(0, "utf8"));
const solution = await solveChallenge({ challenge, deriveKey: pbkdf2.deriveKey });
const payload = { challenge: { parameters: challenge.parameters, signature: challenge.signature }, solution };
process.stdout.write(btoa(JSON.stringify(payload)));
