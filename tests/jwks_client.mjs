// Verifies tokens as they come, a line each, by the keys of a server that it asks when it has to: node jwks_client.mjs ISSUER
import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

const issuer = process.argv[2];
const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), { cooldownDuration: 100 });
for await (const token of createInterface({ input: process.stdin })) {
  const verdict = await jwtVerify(token, keys, { issuer, audience: "gatehouse", algorithms: ["ES256", "EdDSA"] }).then(
    ({ payload, protectedHeader }) => ({ sub: payload.sub, kid: protectedHeader.kid }),
    (error) => ({ error: error.code }),
  );
  console.log(JSON.stringify(verdict));
}
