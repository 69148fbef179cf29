// openapi_check.mjs FILE: whether FILE is a valid OpenAPI document; its errors as lines, status 1.
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const { valid, errors } = await new Validator().validate(JSON.parse(readFileSync(process.argv[2], "utf8")));
for (const e of valid ? [] : [errors].flat())
    console.log(typeof e === "string" ? e : `${e.instancePath}: ${e.message}`);
process.exitCode = valid ? 0 : 1;
