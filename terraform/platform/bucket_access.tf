# Who reads and writes where in the platform's bucket.
locals {
  bucket_access = {
    gateway   = { read = ["releases/*"], write = [] }
    pipelines = { read = ["releases/*", "data/*"], write = ["releases/*", "data/*"] }
    mlflow    = { read = ["artifacts/*"], write = ["artifacts/*"] }
  }
}

data "aws_iam_policy_document" "bucket_access" {
  for_each = local.bucket_access
  # without it a missing object cannot be told from a forbidden one
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [module.storage.bucket_arn]
  }
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for place in each.value.read : "${module.storage.bucket_arn}/${place}"]
  }
  dynamic "statement" {
    for_each = length(each.value.write) > 0 ? [each.value.write] : []
    content {
      sid       = "Write"
      actions   = concat(["s3:PutObject", "s3:AbortMultipartUpload"], each.key == "mlflow" ? ["s3:DeleteObject"] : [])
      resources = [for place in statement.value : "${module.storage.bucket_arn}/${place}"]
    }
  }
  dynamic "statement" {
    for_each = each.key == "pipelines" && local.training_bucket != null ? [local.training_bucket] : []
    content {
      sid     = "TrainingData"
      actions = ["s3:GetObject", "s3:ListBucket"]
      resources = [
        "arn:${local.context.partition}:s3:::${statement.value}",
        "arn:${local.context.partition}:s3:::${statement.value}/*",
      ]
    }
  }
  statement {
    sid       = "Key"
    actions   = length(each.value.write) > 0 ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
    resources = [module.storage.key_arn]
  }
}
