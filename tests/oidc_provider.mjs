// A certified OpenID provider on loopback, for tests: node oidc_provider.mjs PORT REDIRECT_URI CLIENT_ID CLIENT_SECRET AUTH_METHOD
// Whoever signs in as NAME is NAME@example.com, and the provider vouches for it.
import { Provider } from "oidc-provider";

const [port, redirectUri, clientId, clientSecret, authMethod] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: [redirectUri],
      token_endpoint_auth_method: authMethod,
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  pkce: { required: () => true },
  cookies: { keys: ["only for tests"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: "Robin" }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
