// Notes, a service that checks tokens by itself with Gatehouse's public keys (ES256 or EdDSA): no question per request.
import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";

const gatehouse = process.env.GATEHOUSE_URL;
const keys = createRemoteJWKSet(new URL(`${gatehouse}/.well-known/jwks.json`));
const expected = { issuer: gatehouse, audience: "gatehouse", algorithms: ["ES256", "EdDSA"] };

async function editor(request, response, next) {
  const [, token] = /^Bearer (\S+)$/i.exec(request.get("Authorization") ?? "") ?? [];
  const claims = await jwtVerify(token ?? "", keys, expected).then(({ payload }) => payload, () => null);
  // A refresh token is signed by the same keys.
  if (claims?.type !== "access") return response.status(401).set("WWW-Authenticate", "Bearer").end();
  if (!claims.roles?.notes?.includes("editor")) return response.status(403).end();
  request.caller = claims;
  next();
}

const app = express();
app.get("/notes", editor, (request, response) => response.json({ notes_of: request.caller.sub, notes: [] }));
app.listen(Number(process.env.PORT ?? 8000), "127.0.0.1");
