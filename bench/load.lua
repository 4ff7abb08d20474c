-- Sends one operation over and over, for wrk. After `--` come: method, path, body, prefix of new addresses, number of
-- accounts, "chained" or "", and the file with the tokens, one a line.
--
-- In path, body and header values it fills in <account> (any of the accounts), <fresh> (an address never used before)
-- and <token>: the tokens in turn, or, chained, one for each connection (so wrk needs a thread for each), which is
-- replaced by the refresh token of every answer.

local threads = 0
local method, path, body, prefix, accounts, tokens, own
local sent, prepared = 0, {}

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local function filled(text, values)
  return (text:gsub("<(%a+)>", values))
end

local function made(values)
  local headers = {}
  for name, value in pairs(wrk.headers) do
    headers[name] = filled(value, values)
  end
  return wrk.format(method, filled(path, values), headers, filled(body, values))
end

local function keep_successor(status, headers, answer)
  own = answer:match('"refresh_token": ?"([^"]+)"') or own
end

function init(args)
  method, path, body, prefix, accounts = args[1], args[2], args[3], args[4], tonumber(args[5])
  tokens = {}
  for line in io.lines(args[7]) do
    tokens[#tokens + 1] = line
  end
  math.randomseed(number + os.time())
  if args[6] == "chained" then
    own = tokens[number + 1]
    response = keep_successor
  elseif not (path .. body):find("<", 1, true) then
    for i, token in ipairs(tokens) do
      prepared[i] = made({ token = token })
    end
  end
end

function request()
  sent = sent + 1
  if #prepared > 0 then
    return prepared[sent % #prepared + 1]
  end
  return made({
    account = "account-" .. math.random(accounts) .. "@example.com",
    fresh = prefix .. "-" .. number .. "-" .. sent .. "@example.com",
    token = own,
  })
end

function done(summary, latency, requests)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("RESULT %d %d %d %d\n", summary.requests, summary.duration, errors.status, lost))
end
