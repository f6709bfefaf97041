-- The load: POST requests, one per line of a file of bodies, prebuilt and sent in turn.
-- Arguments: the file; the bearer token, `-` for none; the ms that a connection waits before each request. The last line of the output is for the driver.

local requests, position, threads = {}, 0, 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   wrk.headers["Content-Type"] = "application/json"
   if args[2] ~= "-" then
      wrk.headers["Authorization"] = "Bearer " .. args[2]
   end
   local pause = tonumber(args[3])
   if pause > 0 then
      -- Only where it is defined do requests wait.
      function delay() return pause end
   end
   for body in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format("POST", nil, nil, body)
   end
   -- Two threads in step would ask for each key twice in a row.
   position = math.floor(#requests / 2) * number
end

function request()
   position = position % #requests + 1
   return requests[position]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
