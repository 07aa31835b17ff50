// Greets, as an AWS Lambda function behind its function URL (payload 2.0). `streaming` shows the
// same with a streamed answer.
let calls = 0

const read = (event) => {
  const body = event.body || '{}'
  return JSON.parse(event.isBase64Encoded ? Buffer.from(body, 'base64').toString() : body)
}

export const handler = async (event, context) => {
  calls += 1
  const { name } = read(event)
  if (name === 'nobody') throw new TypeError('nobody cannot be greeted')
  console.log(`greeting ${name}`)
  if (!name) return { statusCode: 422, body: JSON.stringify({ error: 'name is missing' }) }
  const { http } = event.requestContext
  return {
    statusCode: 201,
    headers: { 'Content-Type': 'application/json', 'X-Greeted': name },
    cookies: ['greeted=1; Path=/'],
    body: JSON.stringify({
      message: `${process.env.greeting || 'Hello'}, ${name}!`,
      method: http.method,
      url: event.rawPath + (event.rawQueryString ? `?${event.rawQueryString}` : ''),
      call_id: context.awsRequestId,
      request_id: event.headers['x-request-id'],
      traceparent: event.headers.traceparent,
      time_left_ms: context.getRemainingTimeInMillis(),
      calls_of_this_sandbox: calls,
      pid: process.pid
    })
  }
}

export const streaming = awslambda.streamifyResponse(async (event, stream, _context) => {
  const { name } = read(event)
  const answer = awslambda.HttpResponseStream.from(stream, {
    statusCode: 201,
    headers: { 'Content-Type': 'text/plain', 'X-Greeted': name }
  })
  answer.write(`Hello, ${name}!\n`)
  for (let line = 1; line <= 3; line += 1) answer.write(`line ${line}\n`)
  answer.end()
})
