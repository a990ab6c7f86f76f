// Shows /openapi.json in Swagger UI. The version at hand reads OpenAPI 3.0 only, so that what 3.1 says otherwise is put
// into its words here; the file itself stays as it is.
"use strict";

function inWordsOf30(node) {
  if (Array.isArray(node)) {
    return node.map(inWordsOf30);
  }
  if (node === null || typeof node !== "object") {
    return node;
  }
  const { anyOf, ...rest } = node;
  const told = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, inWordsOf30(value)]));
  if (!Array.isArray(anyOf)) {
    return anyOf === undefined ? told : { ...told, anyOf: inWordsOf30(anyOf) };
  }
  const choices = anyOf.filter((choice) => choice.type !== "null").map(inWordsOf30);
  const nullable = choices.length < anyOf.length ? { nullable: true } : {};
  return choices.length === 1 ? { ...choices[0], ...nullable, ...told } : { ...told, ...nullable, anyOf: choices };
}

async function show() {
  const answer = await fetch("openapi.json");
  const spec = { ...inWordsOf30(await answer.json()), openapi: "3.0.3" };
  window.SwaggerUIBundle({ spec, dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, defaultModelsExpandDepth: 0 });
}

show();
