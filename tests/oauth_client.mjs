// A client that knows the server's address and nothing else: node oauth_client.mjs ISSUER CLIENT_ID APP_TOKEN AUTH USER_TOKEN
import * as client from "openid-client";

const [issuer, id, secret, auth, userToken] = process.argv.slice(2);
const proof = { basic: client.ClientSecretBasic, post: client.ClientSecretPost }[auth](secret);
const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
const server = await client.discovery(new URL(issuer), id, undefined, proof, options);

const grant = await client.clientCredentialsGrant(server, { scope: "notes:read" });
const own = await client.tokenIntrospection(server, grant.access_token);
const before = await client.tokenIntrospection(server, userToken);
await client.tokenRevocation(server, userToken);
const after = await client.tokenIntrospection(server, userToken);
const refused = await client.clientCredentialsGrant(server, { scope: "notes:delete" }).catch((error) => ({
  error: error.error,
  status: error.status,
}));
console.log(JSON.stringify({ grant, own, before, after, refused }));
