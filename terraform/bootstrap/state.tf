# A bucket for each environment, within reach of that environment's roles alone. Plans wait for approval under plans/.
resource "aws_s3_bucket" "state" {
  for_each = var.environments
  #checkov:skip=CKV_AWS_18:CloudTrail records who reads the state; an access log bucket would be a second copy of that
  #checkov:skip=CKV_AWS_144:versions protect against mistakes, and a lost region needs a new apply, not an old state
  #checkov:skip=CKV2_AWS_62:nothing waits for events of the state
  bucket        = "${each.value}-terraform-${local.account}-${var.region}"
  force_destroy = !var.protect_data
}

resource "aws_s3_bucket_versioning" "state" {
  for_each = var.environments
  bucket   = aws_s3_bucket.state[each.key].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  for_each = var.environments
  bucket   = aws_s3_bucket.state[each.key].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm = "aws:kms"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  for_each                = var.environments
  bucket                  = aws_s3_bucket.state[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  for_each = var.environments
  bucket   = aws_s3_bucket.state[each.key].id
  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
  rule {
    id     = "plans"
    status = "Enabled"
    filter {
      prefix = "plans/"
    }
    expiration {
      days = 7
    }
    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }
}

data "aws_iam_policy_document" "state" {
  for_each = var.environments
  statement {
    sid       = "OnlyThroughTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.state[each.key].arn, "${aws_s3_bucket.state[each.key].arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  for_each = var.environments
  bucket   = aws_s3_bucket.state[each.key].id
  policy   = data.aws_iam_policy_document.state[each.key].json
}
