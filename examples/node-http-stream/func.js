// Greets, with the Fn FDK for Node.js. Shows status, headers, configuration and logs.
const fdk = require('@fnproject/fdk')

let calls = 0

fdk.handle((input, ctx) => {
  calls += 1
  const http = ctx.httpGateway
  if (input.name === 'nobody') throw new Error('nobody cannot be greeted')
  console.error(`greeting ${input.name}`)
  if (!input.name) {
    http.statusCode = 422
    return { error: 'name is missing' }
  }
  http.statusCode = 201
  http.setResponseHeader('X-Greeted', input.name)
  return {
    message: `${ctx.config.greeting || 'Hello'}, ${input.name}!`,
    method: http.method,
    url: http.requestURL,
    call_id: ctx.callID,
    request_id: http.getHeader('X-Request-Id'),
    traceparent: http.getHeader('traceparent'),
    calls_of_this_sandbox: calls,
    pid: process.pid
  }
})
